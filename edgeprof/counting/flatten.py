"""A graph as one list of nodes: what control flow runs stands among them, under names of its own.

A branch that is taken stands in place of its If. A loop is its entry, its body once, and its exit; what stands in the
body runs `times` times. Who knows the values decides which bodies run (`Decide`); what cannot be decided stays one node
that reads all that its bodies read, with the reason.
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
"""Links that no file has: a slice that a body is given, its results put together, and a state it hands on."""


@dataclass(slots=True, eq=False)
class Node:
    """A node under the names of the list; `proto` has those of its own graph."""

    operator: str  # "MatMul", "com.microsoft::MatMulNBits"
    name: str
    input: Sequence[str]
    output: Sequence[str]
    proto: onnx.NodeProto | None = None
    times: int = 1
    link: bool = False  # between a graph and a body, and of no file
    reason: str = ""  # why what it runs is not in the list

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
"""Asked of every node of control flow, under the names of the list."""
Hold = Callable[[str, Any], None]


def everything(graph: onnx.GraphProto) -> Flat:
    """All that a file holds: every body once, whether it runs or not."""
    stored: dict[str, Any] = {}
    nodes = list(walk(graph, _all_bodies, stored.__setitem__))
    return Flat(nodes, graph.input, graph.output, stored)


def _all_bodies(node: Node) -> Choice:
    return Choice(tuple(bodies(node)))


def walk(graph: onnx.GraphProto, decide: Decide, hold: Hold) -> Iterator[Node]:
    """The nodes one by one: what was made of one may decide about a later one.

    Args:
        hold: is given the initializers of each graph before its nodes come.
    """
    return _Walk(decide, hold).nodes(graph, _Scope(), 1)


def bodies(node: Node) -> dict[str, onnx.GraphProto]:
    """What a node of control flow may run, by attribute."""
    found = node.proto.attribute if node.proto is not None else ()
    return {attribute.name: attribute.g for attribute in found if attribute.type == attribute.GRAPH}


def initializers(graph: onnx.GraphProto) -> Iterator[tuple[str, Any]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    yield from ((tensor.values.name, tensor) for tensor in graph.sparse_initializer)


class _Scope:
    """What names mean in a graph: its own begin with a prefix, others are those of the graph around it."""

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
    def __init__(self, decide: Decide, hold: Hold) -> None:
        self.decide, self.hold = decide, hold

    def nodes(self, graph: onnx.GraphProto, scope: _Scope, times: int) -> Iterator[Node]:
        for name, tensor in initializers(graph):
            self.hold(scope(name), tensor)
        for index, proto in enumerate(graph.node):
            kind, name = operator(proto), str(proto.name)
            made = scope.all(proto.output) or ("",)  # a node that makes nothing is malformed, and counts as one
            node = Node(kind, name, scope.all(proto.input), made, proto, times)
            if kind in CONTROL_FLOW:
                yield from self._control(node, scope, f"{scope.prefix}{name or kind}.{index}/")
            else:
                yield node

    def _control(self, node: Node, scope: _Scope, prefix: str) -> Iterator[Node]:
        choice, inner = self.decide(node), bodies(node)
        scopes = {key: _Scope(graph, scope, f"{prefix}{key}/") for key, graph in inner.items()}
        if choice.reason:
            everything = _Walk(_all_bodies, self.hold)
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
            for made, name in zip(graph.output, node.output, strict=False):
                yield _link("Identity", node, [scope(made.name)], [name])

    def _loop(self, node: Node, graph: onnx.GraphProto, scope: _Scope, times: int) -> Iterator[Node]:
        """Entry, body and exit. A Loop gives its body a number, a condition and states; a Scan states and slices."""
        formal = [scope(value.name) for value in graph.input]
        made = [scope(value.name) for value in graph.output]
        skip = 2 if node.operator == LOOP else 0  # number and condition
        slices = int(node.attributes.get("num_scan_inputs", 0))
        states = len(formal) - skip - slices
        sliced, stacked = (node.attributes.get(f"scan_{way}_axes", []) for way in ("input", "output"))
        yield _link(node.operator, node, node.input[: skip + states], formal[: skip + states])
        for at, (source, name) in enumerate(zip(node.input[skip + states :], formal[skip + states :], strict=False)):
            yield _link(SCANNED, node, [source], [name], axis=_axis(sliced, at))
        yield from self.nodes(graph, scope, node.times * times)
        made = made[1:] if node.operator == LOOP else made  # the condition stays inside
        for at, (source, name) in enumerate(zip(made, node.output, strict=False)):
            if name and at < states:
                yield _link(STATE, node, [source, formal[skip + at]], [name], of=node.operator)
            elif name:
                yield _link(STACKED, node, [source], [name], axis=_axis(stacked, at - states), length=times)


def _axis(axes: Sequence[int], at: int) -> int:
    return axes[at] if at < len(axes) else 0


def _link(kind: str, node: Node, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Node:
    from onnx import helper

    proto = helper.make_node(kind, [], [], **attributes) if attributes else None
    return Node(kind, node.name, inputs, outputs, proto, node.times, link=True)
