"""Input tensors made from their description, so that requests stay small and every visit sees the same values."""

from typing import TYPE_CHECKING, Any

from edgeprof.errors import UsageError
from edgeprof.schema import InputValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 0


def make(value: InputValue) -> "NDArray[Any]":
    """The array of `value.shape` and `value.dtype`, contiguous.

    Raises:
        UsageError: the file of a "file" fill is not there, or of another dtype or shape.
    """
    import numpy as np

    random = np.random.default_rng(SEED)
    match value.fill:
        case "token_ids":
            return random.integers(0, value.high, value.shape).astype(value.dtype, copy=False)
        case "ones":
            return np.ones(value.shape, value.dtype)
        case "zeros":
            return np.zeros(value.shape, value.dtype)
        case "positions":
            array = np.empty(value.shape, value.dtype)
            array[...] = np.arange(value.start, value.start + (value.shape[-1] if value.shape else 1))
            return array
        case "normal":
            return random.standard_normal(value.shape, dtype=np.float32).astype(value.dtype, copy=False)
        case "file":
            array = load(value.file)
            if (array.dtype.name, array.shape) != (value.dtype, value.shape):
                raise UsageError(
                    f"{value.file} holds {describe(array)}, and input '{value.name}' is to be "
                    f"{value.dtype} {list(value.shape)}.",
                    "Save an array of that type and shape with numpy.save.",
                )
            return np.ascontiguousarray(array)


def load(file: str, mapped: bool = False) -> "NDArray[Any]":
    """Read a .npy file; `mapped` leaves its contents on disk.

    Raises:
        UsageError: it is missing, or no .npy file.
    """
    import numpy as np

    try:
        array = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise UsageError(f"Cannot read {file}: {problem}.", "Save one array with numpy.save.") from problem
    if not isinstance(array, np.ndarray):  # an .npz archive
        raise UsageError(f"{file} holds several arrays.", "Save one array with numpy.save.")
    return array


def describe(array: "NDArray[Any]") -> str:
    return f"{array.dtype.name} {list(array.shape)}"
