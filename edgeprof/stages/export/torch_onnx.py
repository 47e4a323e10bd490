"""Torch's own ONNX exporter, without the step that takes two thirds of its time.

`torch.onnx.export` first decomposes the traced program into core operators, which means tracing it a second time. For
these models that changes a handful of nodes, and rewriting those directly is enough. The step is skipped by replacing a
private function of torch for the duration of the call. Where torch has no such function, or an operator has no
translation, the step is not skipped. Either result is verified.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch


def to_onnx(traced: torch.export.ExportedProgram, inputs: list[str], outputs: list[str], opset: int) -> ir.Model:
    """Translate a traced program, and name its inputs and outputs in order.

    Raises:
        torch.onnx.OnnxExporterError: the program has an operator that ONNX cannot express.
    """
    import torch

    def translate() -> ir.Model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torchvision, which is not used
            program = torch.onnx.export(
                traced,
                (),
                dynamo=True,
                opset_version=opset,
                input_names=inputs,
                output_names=outputs,
                optimize=False,
                verbose=False,
            )
        assert program is not None
        return program.model

    with contextlib.suppress(torch.onnx.errors.OnnxExporterError), _without_decompositions() as skipped:
        if skipped:
            return translate()
    return translate()


@contextlib.contextmanager
def _without_decompositions() -> Iterator[bool]:
    """Skip the step, and yield whether that is possible in this version of torch."""
    try:
        from torch.onnx._internal.exporter import _fx_passes
    except ImportError:
        yield False
        return
    exporter: Any = _fx_passes
    original = getattr(exporter, "decompose_with_registry", None)
    if original is None:
        yield False
        return
    exporter.decompose_with_registry = lambda program, _registry: _rewritten(program)
    try:
        yield True
    finally:
        exporter.decompose_with_registry = original


def _rewritten(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Remove operators that do nothing at inference, and write changes of dtype in the one form that translates."""
    import torch

    aten = torch.ops.aten
    nothing = {aten.detach_, aten.detach, aten.lift_fresh_copy, aten.alias, aten.contiguous, aten.dropout, aten.to}
    graph = program.graph
    for node in list(graph.nodes):
        packet = getattr(node.target, "overloadpacket", None)
        if packet not in nothing:
            continue
        source = node.args[0]
        if source.meta["val"].dtype == node.meta["val"].dtype:
            node.replace_all_uses_with(source)
            graph.erase_node(node)
        else:
            node.target, node.args, node.kwargs = aten._to_copy.default, (source,), {"dtype": node.meta["val"].dtype}
    return program
