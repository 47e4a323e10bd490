from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import UsageError
from edgeprof.inputs.tensors import make
from edgeprof.schema import Fill, InputValue


def value(fill: Fill, dtype: str, *shape: int, start: int = 0, high: int = 2, file: str = "") -> InputValue:
    return InputValue(name="v", dtype=dtype, shape=shape, fill=fill, start=start, high=high, file=file)


def test_constant_fills() -> None:
    assert make(value("ones", "int64", 2, 3)).tolist() == [[1, 1, 1]] * 2
    assert make(value("zeros", "float16", 2)).tolist() == [0, 0]
    assert make(value("ones", "bool")).item() is True


def test_positions_count_from_their_start_in_every_row() -> None:
    assert make(value("positions", "int64", 2, 3, start=5)).tolist() == [[5, 6, 7]] * 2
    assert make(value("positions", "int32", start=4)).item() == 4
    assert make(value("positions", "int64", 2, 0)).shape == (2, 0)


def test_token_ids_stay_below_the_vocabulary_and_are_the_same_each_time() -> None:
    ids = make(value("token_ids", "int32", 4, 500, high=7))
    assert sorted(set(ids.ravel().tolist())) == [0, 1, 2, 3, 4, 5, 6]
    assert np.array_equal(ids, make(value("token_ids", "int32", 4, 500, high=7)))


def test_rows_end_with_the_end_token_and_have_no_other() -> None:
    ids = make(InputValue(name="x", dtype="int64", shape=(3, 50), fill="token_ids", high=5, end=2))
    assert (ids[:, -1] == 2).all()
    assert set(ids[:, :-1].ravel().tolist()) == {0, 1, 3, 4}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_values(dtype: str) -> None:
    array = make(value("normal", dtype, 100, 100))
    assert abs(float(array.mean(dtype="float64"))) < 0.05
    assert 0.95 < float(array.std(dtype="float64")) < 1.05


@pytest.mark.parametrize("fill", ["token_ids", "ones", "zeros", "positions", "normal"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_every_fill_is_an_array_of_the_requested_dtype_and_shape(
    fill: Fill, dtype: str, shape: tuple[int, ...]
) -> None:
    array = make(value(fill, dtype, *shape))
    assert isinstance(array, np.ndarray)
    assert (array.dtype.name, array.shape) == (dtype, shape)
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_a_file_is_read_and_its_type_and_shape_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    np.save(file, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    array = make(value("file", "float64", 2, 3, file=str(file)))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert array.flags.c_contiguous
    with pytest.raises(UsageError, match=r"holds float64 \[2, 3\], but input 'v' takes float32 \[2, 3\]"):
        make(value("file", "float32", 2, 3, file=str(file)))
    with pytest.raises(UsageError, match="cannot be read"):
        make(value("file", "float32", 2, 3, file=str(tmp_path / "none.npy")))
