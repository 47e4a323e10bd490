"""Convolution kernels stored in 8 bits, with a scale per output channel, and computed in fp32.

They are dequantized by Cast and Mul, which onnxruntime folds when it loads a graph (a DequantizeLinear would remain in
every run): the file gets smaller, and a run costs the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages.quantize.rows import is_quantizable, quantized_rows

if TYPE_CHECKING:
    import onnx_ir as ir


def quantize_kernels(model: ir.Model) -> int:
    """Store kernels in integers; returns how many were changed."""
    changed = 0
    for kernel in list(model.graph.initializers.values()):
        if _only_convolves(model, kernel) and is_quantizable(kernel):
            _store(model, kernel)
            changed += 1
    return changed


def _only_convolves(model: ir.Model, kernel: ir.Value) -> bool:
    uses = list(kernel.uses())
    main = all(use.node.graph is model.graph and use.node.op_type == "Conv" and use.idx == 1 for use in uses)
    return bool(uses) and main and not kernel.is_graph_output()


def _store(model: ir.Model, kernel: ir.Value) -> None:
    import onnx_ir as ir

    integers, scales = quantized_rows(model, kernel)
    cast = ir.node("Cast", [integers], {"to": ir.DataType.FLOAT}, name=f"{kernel.name}/cast")
    scaled = ir.node("Mul", [cast.outputs[0], scales], name=f"{kernel.name}/scaled")
    first = min(kernel.consumers(), key=list(model.graph).index)
    model.graph.insert_before(first, [cast, scaled])
    ir.convenience.replace_all_uses_with(kernel, scaled.outputs[0])
    del model.graph.initializers[kernel.name or ""]
