"""Why a node cannot run at these sizes, as far as shapes and known values tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeprof.counting.contrib_shapes import MS, past_tokens
from edgeprof.counting.flatten import Node
from edgeprof.counting.tensors import Tensor

if TYPE_CHECKING:
    from edgeprof.counting.known_values import Array

Tensors = Sequence[Tensor | None]


def mismatch(node: Node, ins: Tensors) -> str:
    """The message for a node whose inputs do not match."""
    shapes = [str(list(tensor.shape)) for tensor in ins if tensor is not None and tensor.shape is not None]
    if len(shapes) < 2:
        return f"{node.label} does not accept {' '.join(shapes) or 'its inputs'}"
    return f"{node.label} gets {', '.join(shapes[:-1])} and {shapes[-1]}, which do not match"


def problem(node: Node, ins: Tensors, values: Mapping[str, Array]) -> str:
    """Why a node cannot run, without a full stop; empty where nothing is known to fail."""
    kind = node.operator
    if kind in ("Gather", MS + "GatherBlockQuantized"):
        return _index_beyond_table(node, ins, values)
    if kind == "Pad":
        return _reflection_too_wide(node, ins, values)
    if kind == MS + "GroupQueryAttention":
        return _position_beyond_table(node, ins)
    return ""


def _index_beyond_table(node: Node, ins: Tensors, values: Mapping[str, Array]) -> str:
    """A lookup of a row that the table does not have."""
    table, indices = ins[0] if ins else None, values.get(node.input[1]) if len(node.input) > 1 else None
    if table is None or not table.shape or indices is None or not indices.size:
        return ""
    rows = table.shape[int(node.attributes.get("axis", node.attributes.get("gather_axis", 0)))]
    low, high = int(indices.min()), int(indices.max())
    if -rows <= low and high < rows:
        return ""
    return f"{node.label}: a table of {rows:,} rows ({node.input[0]}) is indexed at {high if high >= rows else low:,}"


def _reflection_too_wide(node: Node, ins: Tensors, values: Mapping[str, Array]) -> str:
    """A reflecting Pad needs one more value than it adds at either end."""
    options, x = node.attributes, ins[0] if ins else None
    widths = values.get(node.input[1]) if len(node.input) > 1 else None
    pads = widths.tolist() if widths is not None else options.get("pads", options.get("paddings"))
    if options.get("mode") != "reflect" or x is None or not x.shape or not pads:
        return ""
    rank = len(x.shape)
    axes = values[node.input[3]].tolist() if len(node.input) > 3 and node.input[3] in values else range(rank)
    for at, axis in enumerate(axes):
        most = max(pads[at], pads[at + len(pads) // 2])
        if most >= x.shape[axis]:
            return f"{node.label} reflects {most:,} values, and has {x.shape[axis]:,}: it needs {most + 1:,} or more"
    return ""


def _position_beyond_table(node: Node, ins: Tensors) -> str:
    """A rotary embedding at a position for which its tables of cosines and sines have no row."""
    query, table = ins[0], ins[7] if len(ins) > 7 else None
    if not node.attributes.get("do_rotary") or query is None or not query.shape or table is None or not table.shape:
        return ""
    needed = query.shape[1] + past_tokens(ins, 3, 2)
    if needed <= table.shape[0]:
        return ""
    return f"{node.label}: a table of {table.shape[0]:,} rows ({node.input[7]}) is indexed at {needed - 1:,}"
