"""Count what a recipe quantized, on the graph that it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.errors import QuantizationError
from edgeprof.recipe_table import Recipe
from edgeprof.schema import Calibration, Left, QuantReceipt, Record
from edgeprof.stages.quantize.floats import kept_fp32
from edgeprof.stages.quantize.matmuls import Weight, convolutions, weight_matmuls

if TYPE_CHECKING:
    import onnx_ir as ir


class QuantizableWeights(Record, frozen=True, kw_only=True):
    """The weights of a graph by name; kernels only where a recipe computes convolutions in fewer bits."""

    matmuls: dict[str, Weight]
    convolutions: dict[str, Weight]


def weights(model: ir.Model, row: Recipe) -> QuantizableWeights:
    """The weights that a recipe is meant to quantize."""
    return QuantizableWeights(
        matmuls=weight_matmuls(model), convolutions=convolutions(model) if row.whole_graph else {}
    )


def of(
    before: QuantizableWeights,
    after: ir.Model,
    row: Recipe,
    *,
    shared: int,
    tables: int,
    kernels: int,
    calibration: Calibration | None,
) -> QuantReceipt:
    """Compare the weights of the source with those that are still fp32.

    Args:
        shared, tables, kernels: how many tied embeddings were shared, lookup tables and kernels stored in 8 bits.

    Raises:
        QuantizationError: the recipe quantized no weight, table or kernel.
    """
    remaining = weights(after, row)
    matmuls = _left(before.matmuls, remaining.matmuls)
    convolved = _left(before.convolutions, remaining.convolutions)
    left = [*matmuls, *convolved]
    nothing = len(left) == len(before.matmuls) + len(before.convolutions) and not tables and not kernels
    if nothing and (left or row.quantized):  # other recipes convert all numbers
        raise QuantizationError(_nothing(before, left, row), "This recipe does not apply to this model.")
    total = sum(weight.bytes for weight in before.matmuls.values())
    return QuantReceipt(
        matmuls=len(before.matmuls),
        matmuls_quantized=len(before.matmuls) - len(matmuls),
        weight_bytes=total,
        weight_bytes_quantized=total - sum(one.bytes for one in matmuls),
        convolutions=len(before.convolutions),
        convolutions_quantized=len(before.convolutions) - len(convolved),
        left=tuple(sorted(left, key=lambda one: one.weight)),
        kept_fp32={} if row.quantized else kept_fp32(after),
        shared=shared,
        tables=tables,
        kernels=kernels,
        calibration=calibration,
    )


def _left(before: Mapping[str, Weight], after: Mapping[str, Weight]) -> list[Left]:
    same = [weight for name, weight in before.items() if name in after and after[name].bytes == weight.bytes]
    return [weight.left("the quantizer left it") for weight in same]


def _nothing(before: QuantizableWeights, left: list[Left], row: Recipe) -> str:
    if not left:
        return f"{row.name} has nothing to quantize: the model multiplies by no constant matrix."
    counted = ((len(before.matmuls), "weight matmuls"), (len(before.convolutions), "convolutions"))
    what = " and ".join(f"{count} {words}" for count, words in counted if count)
    reasons = ", ".join(dict.fromkeys(one.reason for one in left))
    return f"None of the {what} was quantized by {row.name}: {reasons}."
