"""Values by meaning, else by type; ids and positions stay within the tables that a graph indexes with them."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeprof import counting
from edgeprof.errors import UnknownName, UsageError
from edgeprof.inputs import LoadRequest, Signature, files, fill, resolve, signature, tensors
from edgeprof.schema import Fill, InputValue, Phase, TensorSpec


def spec(name: str, *dims: int | str, dtype: str = "int64") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims)


def values(model: Signature, length: int = 4, phase: Phase = "prefill") -> dict[str, InputValue]:
    return {value.name: value for value in fill(model, resolve(model, LoadRequest(phase=phase, length=length)))}


@pytest.mark.parametrize(
    ("name", "dtype", "how"),
    [
        ("input_ids", "int32", "token_ids"),
        ("tokens", "int64", "token_ids"),
        ("segment_ids", "int64", "zeros"),
        ("positions", "int64", "positions"),
        ("attention_mask", "float32", "ones"),
        ("input_mask:0", "int32", "ones"),
        ("flags", "bool", "ones"),
        ("hidden", "float16", "normal"),
        ("input_2", "int32", "ones"),  # zeros might be a mask that hides everything
        ("brain", "bfloat16", "normal"),
        ("eight", "float8_e4m3fn", "normal"),
        ("nibbles", "int4", "ones"),
        ("text", "string", "strings"),
    ],
)
def test_fills_by_name_and_type(name: str, dtype: str, how: Fill) -> None:
    model = signature([spec(name, "batch", "seq", dtype=dtype)])
    assert values(model)[name].fill == how
    array = tensors.make(values(model)[name])
    assert array.shape == (1, 4)
    assert array.dtype.name == ("object" if dtype == "string" else dtype)


def test_numbers_that_tell_of_lengths_and_caches_are_right() -> None:
    model = signature(
        [
            spec("input_ids", "b", "s"),
            spec("past_key_values.0.key", "b", 2, "past", 8, dtype="float32"),
            spec("use_cache_branch", 1, dtype="bool"),
            spec("seqlens_k", "b", dtype="int32"),
            spec("total_sequence_length", dtype="int32"),
            spec("past_sequence_length", 1, dtype="int64"),
        ]
    )
    names = ("use_cache_branch", "seqlens_k", "total_sequence_length", "past_sequence_length")
    decode = values(model, 7, "decode")
    assert [tensors.make(decode[name]).ravel().tolist() for name in names] == [[True], [7], [8], [7]]
    prefill = values(model, 7)
    assert [tensors.make(prefill[name]).ravel().tolist() for name in names] == [[False], [6], [7], [0]]


GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
g (int32[unk__1,unk__2] args_0, int32[unk__1,unk__2] args_1, int64[unk__1,unk__2] position_ids, int64[n] column)
  => (float[unk__1,unk__2,4] y)
  <float[200,4] words, float[16,4] places, float[9,4] columns>
{
  ids = Cast<to=7>(args_0)
  a = Gather(words, ids)
  b = Gather(places, position_ids)
  d = Gather(columns, column)
  c = Add(a, b)
  m = Cast<to=1>(args_1)
  s = ReduceSum(m)
  t = ReduceSum(d)
  e = Mul(c, s)
  y = Mul(e, t)
}
"""


def test_what_indexes_a_table_is_known_by_it() -> None:
    proto = onnx.parser.parse_model(GRAPH)
    for name, shape in (("words", (200, 4)), ("places", (16, 4)), ("columns", (9, 4))):
        kept = [one for one in proto.graph.initializer if one.name != name]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend([*kept, onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)])
    model = signature(counting.inputs(proto), proto)
    assert [(one.name, one.meaning, one.rows) for one in model.inputs] == [
        ("args_0", "ids", 200),
        ("args_1", "other", None),
        ("position_ids", "positions", 16),
        ("column", "index", 9),
    ]
    result = values(model, 16)
    assert tensors.make(result["args_0"]).max() < 200
    assert tensors.make(result["args_0"]).max() > 100
    assert result["args_1"].shape == (1, 16)
    assert tensors.make(result["position_ids"]).max() == 15
    with pytest.raises(UsageError, match=r"position 16, but the model's table of positions has 16 rows"):
        tensors.make(values(model, 17)["position_ids"])


# --- files -----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))


def read(one: TensorSpec, file: Path) -> np.ndarray:
    return tensors.make(files.given([one], {one.name: file})[one.name])


def test_arrays_from_npy_npz_and_pb(tmp_path: Path) -> None:
    array, one = np.arange(6, dtype=np.int64).reshape(2, 3), spec("ids", "b", "s")
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "one.npz", anything=array)
    np.savez(tmp_path / "two.npz", other=array + 1, ids=array)
    (tmp_path / "a.pb").write_bytes(onnx.numpy_helper.from_array(array, "any").SerializeToString())
    for name in ("a.npy", "one.npz", "two.npz", "a.pb"):
        assert read(one, tmp_path / name).tolist() == array.tolist(), name
    np.save(tmp_path / "a.npy", array + 1)
    before, after = (files.given([one], {"ids": tmp_path / name})["ids"] for name in ("one.npz", "a.npy"))
    assert before.sha256 != after.sha256  # other contents are another request


def test_types_that_numpy_lacks_come_from_ml_dtypes_or_as_raw_bits(tmp_path: Path) -> None:
    import ml_dtypes

    for dtype, raw in (("bfloat16", "uint16"), ("float8_e4m3fn", "uint8")):
        array = np.array([[1, 2, -3, 0.5]], getattr(ml_dtypes, dtype))
        np.save(tmp_path / "own.npy", array)
        np.save(tmp_path / "raw.npy", array.view(raw))
        for name in ("own.npy", "raw.npy"):
            assert read(spec("x", 1, 4, dtype=dtype), tmp_path / name).astype(np.float32).tolist() == [[1, 2, -3, 0.5]]
    np.save(tmp_path / "int4.npy", np.array([[1, 2, -3, 7]], ml_dtypes.int4))
    assert read(spec("x", 1, 4, dtype="int4"), tmp_path / "int4.npy").astype(int).tolist() == [[1, 2, -3, 7]]
    np.save(tmp_path / "words.npy", np.array([["a", "b", "c", "d"]]))
    assert read(spec("x", 1, 4, dtype="string"), tmp_path / "words.npy").tolist() == [["a", "b", "c", "d"]]


def test_sequences_and_optionals(tmp_path: Path) -> None:
    arrays = [np.ones((2, 3), np.float32), np.zeros((4,), np.float32)]
    sequence = TensorSpec(name="x", dtype="float32", dims=(), kind="sequence")
    np.savez(tmp_path / "x.npz", *arrays)
    proto = onnx.numpy_helper.from_list(arrays, "x")
    (tmp_path / "x.pb").write_bytes(proto.SerializeToString())
    for name in ("x.npz", "x.pb"):
        result = read(sequence, tmp_path / name)
        assert [array.tolist() for array in result] == [array.tolist() for array in arrays]
    optional = TensorSpec(name="x", dtype="float32", dims=(), kind="optional")
    (tmp_path / "o.pb").write_bytes(onnx.numpy_helper.from_optional(arrays[0], "x").SerializeToString())
    assert read(optional, tmp_path / "o.pb").tolist() == arrays[0].tolist()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("int32.npy", "takes int64"),
        ("text.npy", "cannot be read"),
        ("none.npy", "cannot be read: there is no such file"),
        ("many.npz", "holds 2 arrays, none of them named 'ids'"),
        ("text.pb", "not a serialized ONNX tensor"),
        ("none.pb", "cannot be read: there is no such file"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, name: str, says: str) -> None:
    np.save(tmp_path / "int32.npy", np.zeros((1, 6), np.int32))
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "text.pb").write_text("1 2 3")
    np.savez(tmp_path / "many.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(UsageError, match=says):
        files.given([spec("ids", "b", "s")], {"ids": tmp_path / name})


def test_a_file_for_an_input_that_there_is_not_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean input_ids"):
        files.given([spec("input_ids", "b", "s")], {"input_id": Path("x.npy")})


def test_an_input_that_cannot_be_generated_is_requested_by_its_option() -> None:
    model = signature([TensorSpec(name="m", dtype="float32", dims=(), kind="map")])
    with pytest.raises(UsageError, match=r"input 'm' that is a map\. Give them: --input m=FILE"):
        values(model, 4) if model.sized_by_length else fill(model, resolve(model, LoadRequest()))


REPLACED = """
<ir_version: 10, opset_import: ["" : 21]>
replaced (int64[n, t] input_ids, int64[n, t] column) => (float[n, t, 4] x, float[4, n, t] z)
<int64 image = {120}, int64 none = {0}>
{
  here = Equal(input_ids, image)
  ids = Where(here, none, input_ids)
  x = Gather(words, ids)
  z = Gather<axis = 1>(head, column)
}
"""


def test_ids_may_have_placeholders_and_index_the_columns_of_a_head() -> None:
    proto = onnx.parser.parse_model(REPLACED)
    for name, shape in (("words", (200, 4)), ("head", (4, 60))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    model = signature(counting.inputs(proto), proto)
    assert [(one.name, one.rows) for one in model.inputs] == [("input_ids", 200), ("column", 60)]
