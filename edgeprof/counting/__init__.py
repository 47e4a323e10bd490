"""What an ONNX graph costs, node by node: shapes, multiply-accumulates, live bytes. No weight is read, no torch needed.

reading   opening a graph without its weights; what it has to be given
shapes    the shape of every tensor; `values` does the shape arithmetic, `contrib` knows onnxruntime's operators
rules     MACs of every operator
live      the most bytes alive at once; `fusing` and `dequantizing` know what onnxruntime never makes of a graph
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting.reading import inputs, outputs, read
from edgeprof.counting.records import GraphCosts, NodeCost

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphCosts", "NodeCost", "count", "inputs", "outputs", "read"]


def count(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> GraphCosts:
    """Count a graph at one shape of its inputs.

    Args:
        shapes: of every input of `inputs(model)`.

    Returns:
        Every node's costs; operators that could not be counted are in `uncounted`, with the reason.
    """
    from edgeprof.counting.counter import Counter

    return Counter(model, shapes).costs()
