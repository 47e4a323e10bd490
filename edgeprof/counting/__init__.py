"""What an ONNX graph costs, node by node: shapes, multiply-accumulates, memory. Reads no weights and needs no torch.

reading           open a graph without its weights; its inputs and outputs; `file_errors` reports unreadable files
flatten           one list of nodes, control flow included; `control_flow` decides which branch runs, and how often
shapes            the shape of every tensor; `known_values` does shape arithmetic, `contrib_shapes` has the operators of
                  onnxruntime, `shape_errors` explains why a node cannot run at these sizes
weights           which stored tensors are parameters; `product_precision` the type they are multiplied in
macs              MACs of every operator; `attention_length` how many positions attention runs over
planner           the buffers of a run and their peak; `fusion` and `qdq_fusion` know the tensors that onnxruntime never
                  allocates, `workspace` the scratch memory of kernels, `arena` the memory that stays resident
loading           what a session holds of the weights: mapped, copied, repacked for kernels
modules           which part of a transformer a node belongs to
counter           one pass over the nodes that puts these together
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting.file_errors import well_formed
from edgeprof.counting.reading import inlined, inputs, normalized, open_model, outputs, read
from edgeprof.counting.records import GraphCosts, NodeCost, NodeWork
from edgeprof.process import Progress, silent

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.known_values import Array
    from edgeprof.counting.weights import Place, StoredWeights

__all__ = [
    "GraphCosts",
    "NodeCost",
    "NodeWork",
    "by_node",
    "count",
    "inputs",
    "normalized",
    "open_model",
    "outputs",
    "parameters",
    "precision",
    "read",
    "stored",
    "weights_bytes",
]


@well_formed()
def count(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    values: Mapping[str, Array] | None = None,
    *,
    progress: Progress = silent,
) -> GraphCosts:
    """Count a graph at one shape of its inputs.

    >>> from onnx import parser
    >>> model = parser.parse_model('''
    ...     <ir_version: 10, opset_import: ["" : 21]>
    ...     product (float[rows, 4] x, float[4, 3] w) => (float[rows, 3] y) { y = MatMul(x, w) }
    ... ''')
    >>> costs = count(model, {"x": (2, 4)})
    >>> costs.macs, costs.live_bytes
    (24, 104)

    Args:
        shapes: shape of each input in `inputs(model)`; of a sequence or an optional, the shape of its elements. An
            input that is not listed has the shape that the file states.
        values: values of inputs that decide what runs: the branch of a merged decoder, position ids.
        progress: called with the current step.

    Returns:
        The costs of every node. Operators that could not be counted are in `uncounted`, with the reason.

    Raises:
        ModelFileError: the graph is malformed.
    """
    from edgeprof.counting.counter import Counter

    return Counter(inlined(model), shapes, values, progress).costs()


@well_formed()
def by_node(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, Array] | None = None
) -> list[NodeWork]:
    """What every node computes and moves, and the part of a transformer that it belongs to (`counting.modules`).

    >>> from onnx import parser
    >>> model = parser.parse_model('''
    ...     <ir_version: 10, opset_import: ["" : 21]>
    ...     product (float[rows, 4] x, float[4, 3] w) => (float[rows, 3] y) { y = MatMul(x, w) }
    ... ''')
    >>> (node,) = by_node(model, {"x": (2, 4)})
    >>> node.module, node.macs, node.activation_bytes
    ('attention scores', 24, 104)

    Args:
        shapes, values: as in `count`.

    Raises:
        ModelFileError: the graph is malformed.
    """
    from edgeprof.counting.counter import Counter

    return Counter(inlined(model), shapes, values).by_node()


@well_formed()
def parameters(model: onnx.ModelProto) -> int:
    """Number of parameters: values of all stored tensors with more than one value, each counted once.

    >>> from onnx import parser
    >>> parameters(parser.parse_model('''
    ...     <ir_version: 10, opset_import: ["" : 21]>
    ...     product (float[rows, 4] x) => (float[rows, 3] y) <float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}>
    ...     { y = MatMul(x, w) }
    ... '''))
    12

    Raises:
        ModelFileError: the graph is malformed.
    """
    return _weights(model).total


@well_formed()
def stored(model: onnx.ModelProto) -> dict[Place, tuple[int, int]]:
    """Parameters and bytes of every stored tensor, by where it is: of several graphs, their union has each weight once.

    Raises:
        ModelFileError: the graph is malformed.
    """
    from edgeprof.counting.flatten import everything
    from edgeprof.counting.weights import StoredWeights, place

    flat = everything(inlined(model).graph)
    weights = StoredWeights(flat)
    return {
        place(name, flat.stored[name]) if name in flat.stored else (name, ()): (weights.parameters[name], tensor.nbytes)
        for name, tensor in weights.stored.items()
    }


@well_formed()
def weights_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all stored tensors, as stored.

    Raises:
        ModelFileError: the graph is malformed.
    """
    return _weights(model).total_bytes


@well_formed()
def precision(model: onnx.ModelProto) -> str:
    """The type that most weights are multiplied in: "fp32", "fp16", "bf16", "int8", "int4", "a16w8", ...

    Raises:
        ModelFileError: the graph is malformed.
    """
    from edgeprof.counting.product_precision import precision as of_products

    return of_products(inlined(model))


def _weights(model: onnx.ModelProto) -> StoredWeights:
    from edgeprof.counting.flatten import everything
    from edgeprof.counting.weights import StoredWeights

    return StoredWeights(everything(inlined(model).graph))
