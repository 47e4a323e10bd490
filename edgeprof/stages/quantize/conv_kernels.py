"""Kernels of convolutions, stored in 8 bits with a scale per output channel and computed with in fp32.

They are made real by nodes that onnxruntime folds when it loads a graph (it would leave a DequantizeLinear for every
run): the file gets smaller, and a run costs what it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages.quantize.rows import have_scales, in_rows

if TYPE_CHECKING:
    import onnx_ir as ir


def quantize_kernels(model: ir.Model) -> int:
    """Store kernels in integers; how many were changed."""
    changed = 0
    for kernel in list(model.graph.initializers.values()):
        if _only_convolves(model, kernel) and have_scales(kernel):
            _store(model, kernel)
            changed += 1
    return changed


def _only_convolves(model: ir.Model, kernel: ir.Value) -> bool:
    uses = list(kernel.uses())
    main = all(use.node.graph is model.graph and use.node.op_type == "Conv" and use.idx == 1 for use in uses)
    return bool(uses) and main and not kernel.is_graph_output()


def _store(model: ir.Model, kernel: ir.Value) -> None:
    import onnx_ir as ir

    integers, scales = in_rows(model, kernel)
    real = ir.node("Cast", [integers], {"to": ir.DataType.FLOAT}, name=f"{kernel.name}/real")
    scaled = ir.node("Mul", [real.outputs[0], scales], name=f"{kernel.name}/scaled")
    first = min(kernel.consumers(), key=list(model.graph).index)
    model.graph.insert_before(first, [real, scaled])
    ir.convenience.replace_all_uses_with(kernel, scaled.outputs[0])
    del model.graph.initializers[kernel.name or ""]
