"""What an ONNX graph costs, node by node: shapes, multiply-accumulates, live bytes. No weight is read, no torch needed.

reading     opening a graph without its weights; what it has to be given; `opening` what to say of what is none
flattening  one list of nodes, with what control flow runs; `control` decides which branch, and how often
shapes      the shape of every tensor; `values` does the shape arithmetic, `contrib` knows onnxruntime's operators
problems    why a node cannot run at these sizes
weights     which stored tensors are parameters; `product_precision` what they are multiplied as
rules       MACs of every operator; `attended` how many positions attention runs over
live        the most bytes alive at once; `fusing` and `dequantizing` know what onnxruntime never makes of a graph
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting.file_errors import well_formed
from edgeprof.counting.reading import inlined, inputs, normalized, open_model, outputs, read
from edgeprof.counting.records import GraphCosts, NodeCost
from edgeprof.process import Progress, silent

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.known_values import Array
    from edgeprof.counting.weights import Weights

__all__ = [
    "GraphCosts",
    "NodeCost",
    "count",
    "inputs",
    "normalized",
    "open_model",
    "outputs",
    "parameters",
    "precision",
    "read",
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

    Args:
        shapes: of inputs of `inputs(model)`, of sequences and optionals those of their elements; one that is missing
            has what the file states.
        values: what inputs hold, where that decides something: the branch of a merged decoder, position ids.
        progress: called with what is being done.

    Returns:
        Every node's costs; operators that could not be counted are in `uncounted`, with the reason.

    Raises:
        ModelFileError: the graph is malformed.
    """
    from edgeprof.counting.counter import Counter

    return Counter(inlined(model), shapes, values, progress).costs()


@well_formed()
def parameters(model: onnx.ModelProto) -> int:
    """Numbers in all stored tensors of more than one value, each once: see `counting.weights`.

    Raises:
        ModelFileError: the graph is malformed.
    """
    return _weights(model).total


@well_formed()
def weights_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all stored tensors, as stored.

    Raises:
        ModelFileError: the graph is malformed.
    """
    return _weights(model).total_bytes


@well_formed()
def precision(model: onnx.ModelProto) -> str:
    """What most of the weights are multiplied as: "fp32", "fp16", "bf16", "int8", "int4", "a16w8", ...

    Raises:
        ModelFileError: the graph is malformed.
    """
    from edgeprof.counting.product_precision import precision as of_products

    return of_products(inlined(model))


def _weights(model: onnx.ModelProto) -> Weights:
    from edgeprof.counting.flatten import everything
    from edgeprof.counting.weights import Weights

    return Weights(everything(inlined(model).graph))
