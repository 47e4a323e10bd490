"""What a recipe reached, counted on the graph it made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.errors import QuantizationError
from edgeprof.schema import Calibration, QuantReceipt
from edgeprof.stages.quantize.floats import kept_fp32
from edgeprof.stages.quantize.prepare import Matmul, weight_matmuls
from edgeprof.stages.quantize.recipes import Recipe

if TYPE_CHECKING:
    import onnx_ir as ir


def of(
    before: dict[str, Matmul],
    after: ir.Model,
    row: Recipe,
    *,
    shared: int,
    tables: int,
    kernels: int,
    calibration: Calibration | None,
) -> QuantReceipt:
    """Compare the multiplications by weights of a source with those that still have fp32 weights.

    Raises:
        QuantizationError: the recipe reached none, and no table or kernel either.
    """
    found = weight_matmuls(after)
    same = [matmul for name, matmul in before.items() if name in found and found[name].bytes == matmul.bytes]
    left = [matmul.left("the quantizer left it") for matmul in same]
    if len(left) == len(before) and not tables and not kernels and (before or row.weights_only):
        reasons = ", ".join(dict.fromkeys(one.reason for one in left)) or "the model has none"
        raise QuantizationError(
            f"None of the {len(before)} weight matmuls was quantized by {row.name}: {reasons}.",
            "This model gains nothing from this recipe.",
        )
    total = sum(matmul.bytes for matmul in before.values())
    return QuantReceipt(
        matmuls=len(before),
        matmuls_quantized=len(before) - len(left),
        weight_bytes=total,
        weight_bytes_quantized=total - sum(one.bytes for one in left),
        left=tuple(sorted(left, key=lambda one: one.weight)),
        kept_fp32={} if row.weights_only else kept_fp32(after),
        shared=shared,
        tables=tables,
        kernels=kernels,
        calibration=calibration,
    )
