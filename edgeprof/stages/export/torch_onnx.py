"""Torch's own ONNX exporter, without the step that takes two thirds of its time.

`torch.onnx.export` first decomposes the traced program into core operators, which means tracing it a second time. For
these models that changes a handful of nodes, and rewriting those directly is enough. The step is skipped by replacing a
private function of torch for the duration of the call. Where torch has no such function, or an operator has no
translation, the program is restored and the step is not skipped. Either result is verified.
"""

from __future__ import annotations

import contextlib
import copy
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

    before = copy.deepcopy(traced.graph)
    with contextlib.suppress(torch.onnx.errors.OnnxExporterError), _without_decompositions() as skipped:
        if skipped:
            return translate()
    traced.graph_module.graph = before
    if hasattr(traced, "_guards_code"):
        traced._guards_code = []  # the step would run these checks on tensors that it has not made
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
    """Remove operators that do nothing at inference, and write others in the one form that translates."""
    import torch

    aten = torch.ops.aten
    nothing = {aten.detach_, aten.detach, aten.lift_fresh_copy, aten.alias, aten.contiguous, aten.dropout, aten.to}
    synonyms = {
        aten.__and__.Tensor: aten.bitwise_and.Tensor,
        aten.__or__.Tensor: aten.bitwise_or.Tensor,
        aten.min.other: aten.minimum.default,
        aten.max.other: aten.maximum.default,
    }
    in_place = {
        aten.add_.Tensor: aten.add.Tensor,
        aten.mul_.Tensor: aten.mul.Tensor,
        aten.masked_fill_.Scalar: aten.masked_fill.Scalar,
    }
    graph = program.graph
    for node in list(graph.nodes):
        if node.target in synonyms:
            node.target = synonyms[node.target]
        elif node.target in in_place and _is_free_to_change(node.args[0], node):
            node.target = in_place[node.target]
            node.args[0].replace_all_uses_with(node, delete_user_cb=lambda user, node=node: node < user)
        elif getattr(node.target, "overloadpacket", None) in nothing:
            source = node.args[0]
            if source.meta["val"].dtype == node.meta["val"].dtype:
                node.replace_all_uses_with(source)
                graph.erase_node(node)
            else:
                node.target, node.args, node.kwargs = (
                    aten._to_copy.default,
                    (source,),
                    {"dtype": node.meta["val"].dtype},
                )
    return program


def _is_free_to_change(source: torch.fx.Node, change: torch.fx.Node) -> bool:
    """Whether a tensor shares its memory with no other that is read after it was changed.

    It is the result of an operator that makes a new tensor, and all that was made of it before the change is new, too.
    """

    def is_new(node: torch.fx.Node) -> bool:
        schema = getattr(node.target, "_schema", None)
        return schema is not None and all(one.alias_info is None for one in (*schema.returns, *schema.arguments))

    return is_new(source) and all(is_new(user) for user in source.users if user < change)
