"""How far a provider's outputs may be from the CPU provider's, and how far they are.

The CPU provider runs the artifact as it is, the other one the graph that was made of it for this provider. Both have
the weights of the same recipe, whose cost is in neither: what is left are the provider's own roundings, and whatever
fixing shapes and writing operators out would have changed.

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
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgeprof.recipe_table import recipe_of
from edgeprof.schema import Agreement, Kind, Precision, Target
from edgeprof.similarity import cosine, flat_doubles

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPUTED_IN: dict[Kind, float] = {"CPU": 1e-3, "GPU": 1e-2, "NPU": 5e-2}
"""By device. GPUs multiply fp32 in formats of 10 bits where that is faster (TF32), NPUs in fp16."""

NO_NUMBER = sys.float_info.max
"""The difference where one side has no number: JSON knows no infinity."""

NOTHING_ALIKE = (NO_NUMBER, NO_NUMBER, 0.0)
IDENTICAL = (0.0, 0.0, 1.0)


def tolerance(target: Target, precision: Precision) -> float:
    recipe = recipe_of(precision)
    return max(COMPUTED_IN[target.kind], recipe.provider_tolerance if recipe else 0.0)


def agreement(
    outputs: Mapping[str, Any], expected: Mapping[str, Any], target: Target, precision: Precision
) -> Agreement:
    """Of outputs by name, of which there is one at least; the worst one decides.

    Args:
        outputs, expected: arrays, lists of them (sequences) or dicts (maps).
    """
    found = {name: difference(outputs[name], expected[name]) for name in expected}
    worst = max(found, key=lambda name: found[name][1])
    return Agreement(
        max_abs_error=max(absolute for absolute, _, _ in found.values()),
        max_rel_error=found[worst][1],
        cosine=min(cosine for _, _, cosine in found.values()),
        tolerance=tolerance(target, precision),
        output=worst,
    )


def difference(output: Any, expected: Any) -> tuple[float, float, float]:
    """Largest difference, the same over the largest value, and the cosine; of a sequence's tensors the worst."""
    ours, theirs = list(_tensors(output)), list(_tensors(expected))
    if len(ours) != len(theirs):
        return NOTHING_ALIKE
    found = [_difference(*pair) for pair in zip(ours, theirs, strict=True)]
    absolute, relative, cosines = zip(*found, strict=True) if found else ((0.0,), (0.0,), (1.0,))
    return max(absolute), max(relative), min(cosines)


def _tensors(value: Any) -> "Iterator[NDArray[Any]]":
    """What a tensor, a sequence or a map holds. An optional value that is not there holds nothing."""
    import numpy as np

    if isinstance(value, dict):
        yield np.asarray(list(value))
        yield np.asarray(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _tensors(one)
    elif value is not None:
        yield np.asarray(value)


def _difference(output: "NDArray[Any]", expected: "NDArray[Any]") -> tuple[float, float, float]:
    import numpy as np

    if output.shape != expected.shape:
        return NOTHING_ALIKE
    if expected.dtype.kind in "OSU":
        return IDENTICAL if (output == expected).all() else NOTHING_ALIKE
    ours, theirs = flat_doubles(output), flat_doubles(expected)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))  # minus infinity too, in masks
    apart, from_ = ours[~same], theirs[~same]
    if not apart.size:
        return IDENTICAL
    if not (np.isfinite(apart).all() and np.isfinite(from_).all()):
        return NOTHING_ALIKE
    absolute = float(np.abs(apart - from_).max())
    ours, theirs = (np.where(np.isfinite(values), values, 0.0) for values in (ours, theirs))
    largest = float(np.abs(theirs).max())
    return absolute, absolute / largest if largest else NO_NUMBER, float(cosine(ours, theirs))
