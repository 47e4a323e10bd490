"""Records of the costs of a graph."""

from edgeprof.schema import Record, Uncounted


class NodeCost(Record, frozen=True, kw_only=True):
    """One node in one run. Parameters and weight bytes are those of initializers that it is the first to use."""

    name: str
    operator: str  # "MatMul", "com.microsoft::MatMulNBits"
    role: str  # its kind in words: "weight matmuls", "attention", ...
    macs: int = 0
    params: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0  # of its outputs; views write nothing


class GraphCosts(Record, frozen=True, kw_only=True):
    """A graph at one shape of its inputs."""

    nodes: tuple[NodeCost, ...]
    uncounted: tuple[Uncounted, ...] = ()
    problems: tuple[str, ...] = ()  # why it cannot run at these sizes, as far as shapes tell
    params: int  # elements of weight tensors, scales and zero points of quantization left out
    weights_bytes: int  # of all initializers, as stored
    attended: int | None = None  # query positions that attention runs over; None: no attention, or its size is unknown
    live_bytes: int  # the most tensors alive at once, graph inputs and outputs among them, weights not
    live_at: str  # the node that runs then
    working_bytes: int = 0  # predicted memory of onnxruntime's CPU provider beside weights, inputs included
    unsized: int = 0  # tensors whose shape depends on data: live bytes leave them out

    @property
    def macs(self) -> int:
        return sum(node.macs for node in self.nodes)

    @property
    def activation_bytes(self) -> int:
        return sum(node.activation_bytes for node in self.nodes)
