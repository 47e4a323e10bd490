"""How far a provider's outputs may be from the CPU provider's, and how far they are.

Both run the same file, so that what a recipe costs is in neither: what is left are the provider's own roundings.

The limit is for the largest difference over the largest value of the same output. What was seen within it and beyond
on Qualcomm's emulator (QNN 2.7; encoders of 4 and 6 blocks, ViT of 12, decoder of 2, with random and trained weights):

    fp32   computed in fp16     0.002 to 0.032              limit 0.05
    fp16                        0.002 to 0.008              limit 0.05
    a16w8                       0.002 to 0.05; wrong 0.77   limit 0.1
    a8w8                        0.03 to 0.06; wrong 0.33    limit 0.15

A step of 8 bits is 0.4 % of a range, and each of dozens of roundings may fall the other way; a step of 16 bits is
nothing, but the provider rounds what lies between to fp16. The largest of each row is MiniLM with trained weights, of
which a few values are far larger than the rest. In fp32 proper (WebGPU on SwiftShader) 0.000001 was seen.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeprof.schema import Agreement, Kind, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPUTED_IN: dict[Kind, float] = {"CPU": 1e-3, "GPU": 1e-2, "NPU": 5e-2}
"""By device. GPUs multiply fp32 in formats of 10 bits where that is faster (TF32), NPUs in fp16."""

ROUNDED_TO: dict[str, float] = {
    "fp16": 5e-2,
    "bf16": 0.15,  # 8 bits, as a8w8
    "a16w8": 0.1,
    "a8w8": 0.15,
    "int8": 0.15,
    "int8-static": 0.15,
    **dict.fromkeys(("int8-weights", "int4", "int4-gptq", "int4-hqq"), 5e-2),  # the CPU rounds activations to 8 bits
}
"""By the precision of the file."""

NO_NUMBER = sys.float_info.max
"""The difference where one side has no number: JSON knows no infinity."""


def tolerance(target: Target, precision: str) -> float:
    return max(COMPUTED_IN[target.kind], ROUNDED_TO.get(precision, 0.0))


def agreement(
    outputs: "Mapping[str, NDArray[Any]]", expected: "Mapping[str, NDArray[Any]]", target: Target, precision: str
) -> Agreement:
    """Of outputs by name, of which there is one at least; the worst one decides."""
    found = {name: _difference(outputs[name], expected[name]) for name in expected}
    worst = max(found, key=lambda name: found[name][1])
    return Agreement(
        max_abs_error=max(absolute for absolute, _, _ in found.values()),
        max_rel_error=found[worst][1],
        cosine=min(cosine for _, _, cosine in found.values()),
        tolerance=tolerance(target, precision),
        output=worst,
    )


def _difference(output: "NDArray[Any]", expected: "NDArray[Any]") -> tuple[float, float, float]:
    """Largest difference, the same over the largest value, and the cosine between two arrays."""
    import numpy as np

    if output.shape != expected.shape:
        return NO_NUMBER, NO_NUMBER, 0.0
    ours, theirs = (array.astype(np.float64).ravel() for array in (output, expected))
    same = ours == theirs  # minus infinity too, in masks
    ours, theirs = ours[~same], theirs[~same]
    if not ours.size:
        return 0.0, 0.0, 1.0
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return NO_NUMBER, NO_NUMBER, 0.0
    absolute = float(np.abs(ours - theirs).max())
    largest = float(np.abs(_finite(expected)).max(initial=0.0))
    return absolute, absolute / largest if largest else NO_NUMBER, _cosine(_finite(output), _finite(expected))


def _finite(array: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    flat = array.astype(np.float64).ravel()
    return np.where(np.isfinite(flat), flat, 0.0)


def _cosine(a: "NDArray[Any]", b: "NDArray[Any]") -> float:
    import numpy as np

    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0
