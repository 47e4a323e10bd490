"""Torch's own ONNX exporter, without the step that takes two thirds of its time.

`torch.onnx.export` first decomposes the traced program into core operators, which means tracing it a second time. For
these models that changes a handful of nodes, and rewriting those directly is enough. The step is skipped by replacing a
private function of torch for the duration of the call. In a version of torch that is not known to have it, or where an
operator has no translation, the program is restored and the step is not skipped. Either result is verified.
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

KNOWN = ("2.9.", "2.10.", "2.11.", "2.12.", "2.13.")
"""Versions of torch that have the private function, and call it with a program and a registry of translations."""

ASSERTIONS = ("_assert", "sym_constrain")
"""Beginnings of the names of operators that only check; torch removes them as well."""

IDLE = ("detach_", "detach", "lift_fresh_copy", "alias", "contiguous", "dropout", "to")

SYNONYMS = {
    "__and__.Tensor": "bitwise_and.Tensor",
    "__and__.Scalar": "bitwise_and.Scalar",
    "__or__.Tensor": "bitwise_or.Tensor",
    "__or__.Scalar": "bitwise_or.Scalar",
    "min.other": "minimum.default",
    "max.other": "maximum.default",
    "numpy_T.default": "t.default",
}
"""Operators without a translation, and others that do the same."""


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

    _share_heads(traced.graph)
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
    import torch

    if not torch.__version__.startswith(KNOWN):
        yield False
        return
    from torch.onnx._internal.exporter import _fx_passes

    exporter: Any = _fx_passes
    original = exporter.decompose_with_registry

    def rewritten(program: torch.export.ExportedProgram, registry: Any) -> torch.export.ExportedProgram:
        _rewrite(program.graph)
        for node in program.graph.nodes:
            if _is_aten(node) and not registry.is_registered(node.target):
                raise torch.onnx.OnnxExporterError(f"{node.target} has no translation")
        return program

    exporter.decompose_with_registry = rewritten
    try:
        yield True
    finally:
        exporter.decompose_with_registry = original


def _rewrite(graph: torch.fx.Graph) -> None:
    """Remove operators that do nothing at inference, and write others in the one form that translates."""
    import torch

    for node in [node for node in graph.nodes if _is_aten(node)]:
        target: Any = node.target
        name, overload = target.overloadpacket.__name__, target._overloadname
        if name.startswith(ASSERTIONS):
            graph.erase_node(node)
        elif f"{name}.{overload}" in SYNONYMS:
            node.target = _operator(*SYNONYMS[f"{name}.{overload}"].split("."))
        elif name in IDLE:
            source: Any = node.args[0]
            if source.meta["val"].dtype == node.meta["val"].dtype:
                node.replace_all_uses_with(source)
                graph.erase_node(node)
            else:
                node.target, node.args = torch.ops.aten._to_copy.default, (source,)
                node.kwargs = {"dtype": node.meta["val"].dtype}
        elif _is_in_place(target) and (function := _operator(name.removesuffix("_"), overload)):
            written: Any = node.args[0]
            if _is_free_to_change(written, node):
                written.replace_all_uses_with(node, delete_user_cb=lambda user, node=node: node < user)
                node.target = function


def _share_heads(graph: torch.fx.Graph) -> None:
    """Say so where several heads of queries share one of keys: torch repeats it by itself, and says nothing."""
    for node in graph.nodes:
        if _is_aten(node) and node.target.overloadpacket.__name__ == "scaled_dot_product_attention":
            query, key = (each.meta["val"] for each in node.args[:2])
            if query.dim() == 4 and query.shape[1] != key.shape[1]:
                node.kwargs = {**node.kwargs, "enable_gqa": True}


def _is_aten(node: torch.fx.Node) -> bool:
    return node.op == "call_function" and getattr(node.target, "namespace", "") == "aten"


def _is_in_place(target: Any) -> bool:
    name, arguments = target.overloadpacket.__name__, target._schema.arguments
    return name.endswith("_") and bool(arguments) and arguments[0].is_write


def _operator(name: str, overload: str) -> Any:
    """An operator of PyTorch, or None."""
    import torch

    return getattr(getattr(torch.ops.aten, name, None), overload, None)


def _is_free_to_change(source: torch.fx.Node, change: torch.fx.Node) -> bool:
    """Whether a tensor shares its memory with no other that is read after it was changed.

    It is the result of an operator that makes a new tensor, and all that was made of it before the change is new, too.
    """

    def is_new(node: torch.fx.Node) -> bool:
        schema = getattr(node.target, "_schema", None)
        return schema is not None and all(one.alias_info is None for one in (*schema.returns, *schema.arguments))

    earlier = [user for user in source.users if user < change]
    is_result = any(user.op == "output" for user in source.users)  # the signature of the program names it
    return is_new(source) and not is_result and all(is_new(user) for user in earlier)
