"""Make input tensors from their descriptions: requests stay small, and every process uses the same values."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from edgeprof.errors import UsageError
from edgeprof.schema import InputValue
from edgeprof.store import reading_arrays

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

SEED = 0
WORDS = ("a", "b")
"""The values of string inputs."""

NUMPY_SAVES_RAW = {1: "uint8", 2: "uint16", 4: "uint32"}
"""numpy reads types that it lacks from a .npy file as raw bits of this size."""


def make(value: InputValue, generator: "Generator | None" = None) -> "Any":
    """Make the array of `value.shape` and `value.dtype`, contiguous; for a sequence a list of such arrays.

    Types that numpy lacks come from ml_dtypes; strings are objects.

    Args:
        generator: of random numbers; default one that always starts from the same seed.

    Raises:
        UsageError: the file of a "file" fill is missing or has another type or shape; or positions exceed their table.
    """
    if value.fill == "file" and value.kind != "tensor":
        arrays = load(value.file, several=True)
        return arrays if value.kind == "sequence" else (arrays[0] if arrays else None)
    array = _from_file(value) if value.fill == "file" else _made(value, generator)
    return [array] if value.kind == "sequence" else array


def make_array(value: InputValue, generator: "Generator | None" = None) -> "NDArray[Any]":
    """As `make`, with the tensors of a sequence stacked in one array.

    Raises:
        UsageError: as `make`; or they differ in shape, or there are none, or numpy lacks their type.
    """
    import numpy as np

    made = make(value, generator)
    if made is None or (isinstance(made, list) and len({one.shape for one in made}) != 1):
        raise UsageError(
            f"Input '{value.name}' is a {value.kind} of nothing, or of several shapes, which is not compared.",
            "Give it one tensor, or several of one shape.",
        )
    array = np.asarray(made)
    if array.dtype.isbuiltin == 2:
        raise UsageError(
            f"Input '{value.name}' takes {value.dtype}, in which outputs are not compared.",
            "Explain or profile this file; compare one whose inputs are float32.",
        )
    return array


def _from_file(value: InputValue) -> "NDArray[Any]":
    import numpy as np

    array = load(value.file)
    typed_array = typed(array, value.dtype)
    if typed_array is None or array.shape != value.shape:
        raise UsageError(
            f"{value.file} holds {describe(array)}, but input '{value.name}' takes {value.dtype} {list(value.shape)}.",
            "Save an array of that type and shape with numpy.save.",
        )
    return np.ascontiguousarray(typed_array).reshape(array.shape)  # ascontiguousarray turns a scalar into a vector


def _made(value: InputValue, generator: "Generator | None") -> "NDArray[Any]":
    import numpy as np

    random, dtype = generator or np.random.default_rng(SEED), dtype_of(value.dtype)
    match value.fill:
        case "token_ids":
            return _token_ids(value, random).astype(dtype, copy=False)
        case "ones":
            return np.ones(value.shape, dtype)
        case "zeros":
            return np.zeros(value.shape, dtype)
        case "value":
            return np.full(value.shape, value.start).astype(dtype)
        case "positions":
            return _positions(value, dtype)
        case "strings":
            return np.resize(np.asarray(WORDS, object), value.shape)
        case "uniform":
            return random.random(value.shape, dtype=np.float32).astype(dtype, copy=False)
        case _:
            return np.asarray(random.standard_normal(value.shape, dtype=np.float32)).astype(dtype, copy=False)


def _token_ids(value: InputValue, random: "Generator") -> "NDArray[Any]":
    import numpy as np

    if value.end is None:
        return np.asarray(random.integers(0, value.high, value.shape))
    ids = np.asarray(random.integers(0, value.high - 1, value.shape))
    ids += ids >= value.end
    ids[..., -1:] = value.end
    return ids


def _positions(value: InputValue, dtype: Any) -> "NDArray[Any]":
    import numpy as np

    count = value.shape[-1] if value.shape else 1
    if value.rows and value.start + count > value.rows:
        raise UsageError(
            f"Input '{value.name}' counts up to position {value.start + count - 1:,}, "
            f"but the model's table of positions has {value.rows:,} rows.",
            f"Request at most {value.rows - (value.start > 0):,} tokens.",
        )
    array = np.empty(value.shape, dtype)
    array[...] = np.arange(value.start, value.start + count)
    return array


def dtype_of(name: str) -> Any:
    """numpy's type of that name, or ml_dtypes' ("bfloat16", "float8_e4m3fn", "int4"); "string" is an object."""
    import numpy as np

    if name == "string":
        return np.dtype(object)
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))


def typed(array: "NDArray[Any]", dtype: str) -> "NDArray[Any] | None":
    """The array in the type of an input, if it has that type or holds its raw bits; else None."""
    if dtype == "string":
        return array.astype(object) if array.dtype.kind in "UO" else None
    if array.dtype.name == dtype:
        return array
    wanted = dtype_of(dtype)
    if wanted.kind != "V" and wanted.isbuiltin == 1:  # numpy would have saved it as such
        return None
    raw = array.dtype.kind == "V" or array.dtype.name == NUMPY_SAVES_RAW.get(wanted.itemsize)
    return array.view(wanted) if raw and array.dtype.itemsize == wanted.itemsize else None


@overload
def load(file: str, mapped: bool = False) -> "NDArray[Any]": ...
@overload
def load(file: str, mapped: bool = False, *, several: bool) -> Any: ...
def load(file: str, mapped: bool = False, *, several: bool = False) -> Any:
    """Read a .npy file, or (`several`) the arrays of an .npz in order; `mapped` leaves its contents on disk.

    Raises:
        UsageError: it is missing, or no such file.
    """
    import numpy as np

    if several:
        return list(archive(file).values())
    with reading_arrays(Path(file), UsageError, "Save one array with numpy.save."):
        array = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{file} holds several arrays.", "Save one array with numpy.save.")
    return array


def archive(file: str) -> "dict[str, NDArray[Any]]":
    """The arrays of an .npz file by name.

    Raises:
        UsageError: it is missing, or no such file.
    """
    import numpy as np

    with reading_arrays(Path(file), UsageError, "Save arrays with numpy.savez."):
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return dict(found)


def describe(array: "NDArray[Any]") -> str:
    return f"{array.dtype.name} {list(array.shape)}"
