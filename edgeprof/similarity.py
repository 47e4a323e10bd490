"""How alike the values of two arrays are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def cosine(a: ArrayLike, b: ArrayLike) -> NDArray[Any]:
    """Cosine of the angle between two vectors, or between corresponding vectors along the last axis.

    Two zero vectors agree (1.0); a zero vector agrees with no other (0.0).

    >>> cosine([3.0, 4.0], [4.0, 3.0]).item()
    0.96
    >>> cosine([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 2.0]]).tolist()
    [1.0, 0.0]
    """
    import numpy as np

    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    x_norm, y_norm = np.sqrt(np.vecdot(x, x)), np.sqrt(np.vecdot(y, y))
    product = x_norm * y_norm
    angle = np.clip(np.vecdot(x, y) / np.where(product > 0, product, 1.0), -1.0, 1.0)
    return np.asarray(np.where((x_norm == 0) & (y_norm == 0), 1.0, angle))


def flat_doubles(array: NDArray[Any]) -> NDArray[Any]:
    """All values of an array in double precision, in one dimension; a complex number becomes two.

    >>> import numpy as np
    >>> flat_doubles(np.array([[1 + 2j]])).tolist()
    [1.0, 2.0]
    """
    import numpy as np

    flat = array.ravel()
    return flat.astype(np.complex128).view(np.float64) if flat.dtype.kind == "c" else flat.astype(np.float64)
