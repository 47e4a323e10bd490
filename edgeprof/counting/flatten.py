"""A graph as one list of nodes. The nodes that control flow runs are among them, under names of their own.

The chosen branch replaces its If. A loop becomes its entry, its body once, and its exit; the nodes of the body run
`times` times. The caller, who knows the values, decides which bodies run (`Decide`); where that cannot be decided, the
control flow stays one node, with the reason, that reads all that its bodies read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeprof.counting.reading import attributes, operator

if TYPE_CHECKING:
    import onnx

IF, LOOP, SCAN = "If", "Loop", "Scan"
CONTROL_FLOW = {IF, LOOP, SCAN, "SequenceMap"}
SCANNED, STACKED, STATE = "scanned", "stacked", "state"
"""Links that exist in no file: a slice passed to a body, its results stacked, and a state passed on."""


@dataclass(slots=True, eq=False)
class Node:
    """A node with the tensor names of the list; `proto` has those of its own graph."""

    operator: str  # "MatMul", "com.microsoft::MatMulNBits"
    name: str
    input: Sequence[str]
    output: Sequence[str]
    proto: onnx.NodeProto | None = None
    times: int = 1
    link: bool = False  # between a graph and a body; in no file
    reason: str = ""  # why the nodes that it runs are not in the list

    @property
    def op_type(self) -> str:
        return self.operator.rpartition("::")[2]

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.proto) if self.proto is not None else {}

    @property
    def label(self) -> str:
        return f"{self.operator} ({self.name})" if self.name else self.operator


@dataclass
class Flat:
    """All nodes of a graph; inputs and outputs are those of the graph itself."""

    node: list[Node]
    input: Sequence[onnx.ValueInfoProto]
    output: Sequence[onnx.ValueInfoProto]
    stored: dict[str, Any] = field(default_factory=dict)  # initializers, dense and sparse, by name


@dataclass(frozen=True)
class Choice:
    """Which of its bodies a node runs, and how often; or why that is not known."""

    bodies: tuple[str, ...] = ()  # names of attributes
    times: int = 1
    reason: str = ""


Decide = Callable[[Node], Choice]
"""Called for every node of control flow, with the names of the list."""
OnInitializer = Callable[[str, Any], None]


def everything(graph: onnx.GraphProto) -> Flat:
    """All nodes and initializers of a file: every body once, whether it runs or not."""
    stored: dict[str, Any] = {}
    nodes = list(walk(graph, _all_bodies, stored.__setitem__))
    return Flat(nodes, graph.input, graph.output, stored)


def _all_bodies(node: Node) -> Choice:
    return Choice(tuple(bodies(node)))


def walk(graph: onnx.GraphProto, decide: Decide, on_initializer: OnInitializer) -> Iterator[Node]:
    """The nodes one by one, so that the values of one can decide about a later one.

    Args:
        on_initializer: called with the initializers of each graph before its nodes.
    """
    return _Walk(decide, on_initializer).nodes(graph, _Scope(), 1)


def bodies(node: Node) -> dict[str, onnx.GraphProto]:
    """The graphs that a node of control flow may run, by attribute."""
    stored = node.proto.attribute if node.proto is not None else ()
    return {attribute.name: attribute.g for attribute in stored if attribute.type == attribute.GRAPH}


def initializers(graph: onnx.GraphProto) -> Iterator[tuple[str, Any]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    yield from ((tensor.values.name, tensor) for tensor in graph.sparse_initializer)


class _Scope:
    """Names in a graph: its own get a prefix, all others belong to the graph around it."""

    def __init__(self, graph: onnx.GraphProto | None = None, outer: _Scope | None = None, prefix: str = "") -> None:
        self.outer, self.prefix = outer, prefix
        self.own: set[str] = set()
        if graph is not None:
            self.own = {value.name for value in graph.input} | {name for name, _ in initializers(graph)}
            self.own.update(name for node in graph.node for name in node.output)
            self.own.discard("")

    def __call__(self, name: str) -> str:
        if self.outer is None or not name:
            return name
        return self.prefix + name if name in self.own else self.outer(name)

    def all(self, names: Sequence[str]) -> Sequence[str]:
        return tuple(names) if self.outer is None else [self(name) for name in names]


class _Walk:
    def __init__(self, decide: Decide, on_initializer: OnInitializer) -> None:
        self.decide, self.on_initializer = decide, on_initializer

    def nodes(self, graph: onnx.GraphProto, scope: _Scope, times: int) -> Iterator[Node]:
        for name, tensor in initializers(graph):
            self.on_initializer(scope(name), tensor)
        for index, proto in enumerate(graph.node):
            kind, name = operator(proto), str(proto.name)
            results = scope.all(proto.output) or ("",)  # a node without outputs is malformed, and still counts
            node = Node(kind, name, scope.all(proto.input), results, proto, times)
            if kind in CONTROL_FLOW:
                yield from self._control(node, scope, f"{scope.prefix}{name or kind}.{index}/")
            else:
                yield node

    def _control(self, node: Node, scope: _Scope, prefix: str) -> Iterator[Node]:
        choice, inner = self.decide(node), bodies(node)
        scopes = {key: _Scope(graph, scope, f"{prefix}{key}/") for key, graph in inner.items()}
        if choice.reason:
            everything = _Walk(_all_bodies, self.on_initializer)
            inside = [each for key, graph in inner.items() for each in everything.nodes(graph, scopes[key], 1)]
            read = [name for each in inside for name in (each.output if each.operator == "Constant" else each.input)]
            node.input, node.reason = tuple(dict.fromkeys((*node.input, *read))), choice.reason
            yield node
            return
        for key in choice.bodies:
            if node.operator == IF:
                yield from self._branch(node, inner[key], scopes[key], only=len(choice.bodies) == 1)
            else:
                yield from self._loop(node, inner[key], scopes[key], choice.times)

    def _branch(self, node: Node, graph: onnx.GraphProto, scope: _Scope, *, only: bool) -> Iterator[Node]:
        yield from self.nodes(graph, scope, node.times)
        if only:
            for result, name in zip(graph.output, node.output, strict=False):
                yield _link("Identity", node, [scope(result.name)], [name])

    def _loop(self, node: Node, graph: onnx.GraphProto, scope: _Scope, times: int) -> Iterator[Node]:
        """Entry, body and exit. A Loop's body receives a number, a condition and states; a Scan's states and slices."""
        parameters = [scope(value.name) for value in graph.input]
        results = [scope(value.name) for value in graph.output]
        skip = 2 if node.operator == LOOP else 0  # number and condition
        slices = int(node.attributes.get("num_scan_inputs", 0))
        states = len(parameters) - skip - slices
        sliced, stacked = (node.attributes.get(f"scan_{way}_axes", []) for way in ("input", "output"))
        yield _link(node.operator, node, node.input[: skip + states], parameters[: skip + states])
        scanned = zip(node.input[skip + states :], parameters[skip + states :], strict=False)
        for at, (source, name) in enumerate(scanned):
            yield _link(SCANNED, node, [source], [name], axis=_axis(sliced, at))
        yield from self.nodes(graph, scope, node.times * times)
        results = results[1:] if node.operator == LOOP else results  # the condition stays inside
        for at, (source, name) in enumerate(zip(results, node.output, strict=False)):
            if name and at < states:
                yield _link(STATE, node, [source, parameters[skip + at]], [name], of=node.operator)
            elif name:
                yield _link(STACKED, node, [source], [name], axis=_axis(stacked, at - states), length=times)


def _axis(axes: Sequence[int], at: int) -> int:
    return axes[at] if at < len(axes) else 0


def _link(kind: str, node: Node, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Node:
    from onnx import helper

    proto = helper.make_node(kind, [], [], **attributes) if attributes else None
    return Node(kind, node.name, inputs, outputs, proto, node.times, link=True)
