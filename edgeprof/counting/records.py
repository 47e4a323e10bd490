"""Records of the costs of a graph."""

from typing import Literal

from edgeprof.schema import Record, Uncounted

NodeKind = Literal[
    "product", "convolution", "attention", "norm", "lookup", "elementwise", "movement", "view", "other", "unknown"
]
""""other": it multiplies matrices in a way of its own. "unknown": no rule counts it."""


class NodeCost(Record, frozen=True, kw_only=True):
    """One node in one run. Parameters and weight bytes are those of initializers that it is the first to use."""

    name: str
    operator: str  # "MatMul", "com.microsoft::MatMulNBits"
    role: str  # its kind in words: "weight matmuls", "attention", ...
    macs: int = 0
    params: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0  # of its outputs; views write nothing


class Table(Record, frozen=True, kw_only=True):
    """Weights in a data file of which runs read rows."""

    nbytes: int
    lookups: int  # rows that a run reads, at most

    def resident_bytes(self, window: int) -> int:
        """The bytes in memory after rows at random were read, each with a window of so many bytes around it.

        >>> Table(nbytes=1_000_000, lookups=1).resident_bytes(65_536), Table(nbytes=9, lookups=50).resident_bytes(4096)
        (65536, 9)
        """
        windows = max(self.nbytes / window, 1.0)
        return round(self.nbytes * (1 - (1 - 1 / windows) ** self.lookups))


class HeldWeights(Record, frozen=True, kw_only=True):
    """What onnxruntime's CPU provider holds of the weights (`counting.loading`)."""

    mapped_bytes: int  # pages of data files that are read while the session is created, and stay
    touched_bytes: int  # those that the runs are first to read, tables left out
    tables: tuple[Table, ...] = ()  # those that the runs look up
    copied_bytes: int  # in memory: stored in the .onnx file, or computed from other weights
    packed_bytes: int  # repacked for the kernels of products
    unpacked_bytes: int  # in memory if nothing were repacked
    kept_bytes: int  # freed, but not returned to the system
    session_bytes: int  # graph and nodes
    most_bytes: int  # the most of all but the session, while it is created


class NodeWork(Record, frozen=True, kw_only=True):
    """What one node does in one run, whichever node used its weights first."""

    name: str
    operator: str  # without its domain, as a runtime names it
    module: str  # of `schema.MODULES`
    precision: str  # of a product: what its kernel multiplies
    macs: int = 0
    weights_bytes: int = 0  # read, as stored
    activation_bytes: int = 0  # read and written
    sizes: dict[str, int] = {}  # noqa: RUF012  (`counting.node_sizes`); none where shapes are not known
    times: int = 1  # that it runs: more than once in the body of a loop; amounts are of all of them, sizes of one
    kind: NodeKind = "other"


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
    held: HeldWeights
    unsized: int = 0  # tensors whose shape depends on data: live bytes leave them out

    @property
    def macs(self) -> int:
        return sum(node.macs for node in self.nodes)

    @property
    def activation_bytes(self) -> int:
        return sum(node.activation_bytes for node in self.nodes)
