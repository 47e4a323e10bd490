"""Replicate layers in a graph that was traced from few of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of a node: the names of the modules that it comes from, outermost first."""

COMMUTATIVE = ("Add", "Mul")

ADDED = -1
"""In place of a position, for nodes of layers that were not traced."""


class NotReplicable(Exception):
    """Two layers of one kind differ in more than their weights."""


@dataclass(frozen=True)
class Stack:
    """A list of blocks in a model: all its layers, the kind of each, and the numbers of those to trace."""

    name: str
    layers: list[torch.nn.Module]
    kept: list[int]
    kinds: list[object]

    def pair(self, kind: object) -> tuple[int, int]:
        """Positions among the kept of the two layers that all others of this kind are made from."""
        first, second = (at for at, layer in enumerate(self.kept) if at and self.kinds[layer] == kind)
        return first, second


def number_of(name: str) -> int | None:
    """The layer that an input or output belongs to.

    >>> number_of("past_key_values.3.key"), number_of("logits")
    (3, None)
    """
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def renumbered(name: str, number: int) -> str:
    """The same of another layer.

    >>> renumbered("past_key_values.3.key", 4)
    'past_key_values.4.key'
    """
    return ".".join(str(number) if part.isdigit() else part for part in name.split("."))


def order(graph: ir.Graph, inputs: list[str], outputs: list[str]) -> None:
    """Bring inputs and outputs into an order.

    Raises:
        NotReplicable: some are missing, or there are others.
    """
    for values, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        found = {value.name: value for value in values}
        if found.keys() != set(names):
            raise NotReplicable(f"the graph has {sorted(map(str, found))}, not {sorted(names)}")
        values.clear()
        values.extend(found[name] for name in names)


@dataclass
class _Template:
    """A traced layer that others of its kind are made from; `at` is its position among the traced ones."""

    at: int
    partners: dict[ir.Value | None, ir.Value | None] = field(default_factory=dict)  # of its values, in another layer
    nodes: set[ir.Node] = field(default_factory=set)
    weights: dict[ir.Value, str] = field(default_factory=dict)  # its own, with their names in the layer


class Replication:
    """Of the layers of one stack. `at` is always a position among its traced layers, `number` one among all.

    Args:
        graph: of the shortened model; it becomes that of the whole model.
        inputs, outputs: those of the whole graph that are numbered by layers of this stack.
    """

    def __init__(self, graph: ir.Graph, stack: Stack, inputs: list[str], outputs: list[str]) -> None:
        self.graph, self.stack = graph, stack
        self.inputs = {name for name in inputs if number_of(name) is not None}
        self.outputs = {name for name in outputs if number_of(name) is not None}
        if self.inputs or self.outputs:
            self._number_names()
        self.prefix, self.layers = _layers(graph, stack.name)
        self.last = len(stack.kept) - 1
        self.added: list[ir.Value] = []
        self.received = {at: self._received(at) for at in range(1, self.last + 1)}
        self.handed = {at - 1: value for at, value in self.received.items()}
        self.handed[self.last] = self._result()

    def run(self) -> None:
        """Add all layers that were left out.

        Raises:
            NotReplicable: two traced layers of one kind differ, or something else than the next layer reads their
                values.
        """
        self._require_closed()
        left_out = [number for number in range(len(self.stack.kinds)) if number not in self.stack.kept]
        templates = {kind: self._template(kind) for kind in {self.stack.kinds[number] for number in left_out}}
        handed: ir.Value | None = None
        received: dict[int, ir.Value | None] = {}
        for number, kind in enumerate(self.stack.kinds):
            if number in self.stack.kept:
                at = self.stack.kept.index(number)
                received[at] = handed
                handed = self.handed[at]
            else:
                handed = self._replicate(templates[kind], number, handed)
        received[self.last + 1] = handed
        for at in range(1, self.last + 2):
            self._rewire(self.handed[at - 1], received[at], at)
        self._place_weights()
        self.graph.sort()

    def _number_names(self) -> None:
        """Number inputs and outputs by the layers of the whole model."""
        for value in {*self.graph.inputs, *self.graph.outputs}:
            at = number_of(value.name or "")
            if at is not None:
                value.name = renumbered(value.name or "", self.stack.kept[at])

    # --- what layers hand on ---

    def _received(self, at: int) -> ir.Value | None:
        """The value that a layer reads of the one before, and no other layer does: its hidden state."""
        read = {value for node, layer in self.layers.items() if layer == at for value in node.inputs if value}
        before = [value for value in read if self._layer(value) == at - 1 and self._readers(value) <= {at - 1, at}]
        return _only(value for value in before if at == 1 or not self._is_common(value))

    def _result(self) -> ir.Value | None:
        """The value of the last layer that is read by what follows."""
        read = (value for value in self._values(self.last) if self._is_read_outside(value))
        return _only(value for value in read if not self._is_common(value))

    def _is_common(self, value: ir.Value) -> bool:
        """Whether a value is one for all layers, whichever computed it: it depends on nothing that a layer owns."""
        pending: list[ir.Value] = [value]
        seen: set[ir.Value] = set()
        while pending:
            one = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            if one.name in self.inputs or any(self._weight(one, at) for at in range(1, self.last + 1)):
                return False
            producer = one.producer()
            if producer is not None and self.layers.get(producer):
                pending.extend(read for read in producer.inputs if read is not None)
        return True

    def _layer(self, value: ir.Value) -> int | None:
        producer = value.producer()
        return None if producer is None else self.layers.get(producer)

    def _readers(self, value: ir.Value) -> set[int | None]:
        return {self.layers.get(use.node) for use in value.uses()} - {None}

    def _values(self, at: int) -> list[ir.Value]:
        return [value for node, layer in self.layers.items() if layer == at for value in node.outputs]

    def _is_read_outside(self, value: ir.Value) -> bool:
        if value.is_graph_output() and value.name not in self.outputs:
            return True
        return any(self.layers.get(use.node) is None for use in value.uses())

    def _require_closed(self) -> None:
        for at in range(1, self.last + 1):
            for value in self._values(at):
                if value is not self.handed[self.last] and self._is_read_outside(value) and not self._is_common(value):
                    raise NotReplicable(f"{value.name} of layer {self.stack.kept[at]} is read outside")

    # --- two layers compared ---

    def _template(self, kind: object) -> _Template:
        first, second = self.stack.pair(kind)
        template = _Template(second)
        pairs = [(self.handed[first], self.handed[second]), *self._output_pairs(first, second)]
        while pairs:
            theirs, ours = pairs.pop()
            if ours not in template.partners:
                template.partners[ours] = theirs
                pairs.extend(self._compared(theirs, ours, first, template))
            elif template.partners[ours] is not theirs:
                raise NotReplicable(f"{ours and ours.name} has two counterparts")
        return template

    def _output_pairs(self, first: int, second: int) -> list[tuple[ir.Value | None, ir.Value | None]]:
        named = {value.name: value for value in self.graph.outputs if value.name in self.outputs}
        numbers = self.stack.kept[first], self.stack.kept[second]
        return [
            (named.get(renumbered(name, numbers[0])), value)
            for name, value in named.items()
            if name and number_of(name) == numbers[1]
        ]

    def _compared(
        self, theirs: ir.Value | None, ours: ir.Value | None, first: int, template: _Template
    ) -> Iterable[tuple[ir.Value | None, ir.Value | None]]:
        """Account for a value of the template and its counterpart in the other layer; what they are made of is next."""
        second, kept = template.at, self.stack.kept
        if theirs is None or ours is None:
            if theirs is not ours:
                raise NotReplicable("an input is missing")
        elif theirs is ours:
            if self._layer(ours) and not self._is_common(ours):
                raise NotReplicable(f"{ours.name} is shared by layers")
        elif ours is self.received[second] and theirs is self.received[first]:
            pass
        elif (weight := self._weight(ours, second)) and weight == self._weight(theirs, first):
            template.weights[ours] = weight
        elif ours.is_graph_input() and theirs.is_graph_input():
            if not (ours.name in self.inputs and theirs.name == renumbered(ours.name or "", kept[first])):
                raise NotReplicable(f"{theirs.name} is not to one layer what {ours.name} is to another")
        elif not _is_constant(ours) or not _is_constant(theirs):
            return self._nodes(theirs, ours, first, template)
        elif not _equal(_constant(theirs), _constant(ours)):
            raise NotReplicable(f"{theirs.name} and {ours.name} are different constants")
        return ()

    def _weight(self, value: ir.Value, at: int) -> str | None:
        """The name in its layer of a weight that a traced layer owns."""
        own, name = self._place(at), value.name or ""
        return name.removeprefix(own) if value.is_initializer() and name.startswith(own) else None

    def _place(self, at: int) -> str:
        return f"{self.prefix}{self.stack.name}.{at}."

    def _nodes(
        self, theirs: ir.Value, ours: ir.Value, first: int, template: _Template
    ) -> Iterable[tuple[ir.Value | None, ir.Value | None]]:
        their_node, our_node = theirs.producer(), ours.producer()
        if their_node is None or our_node is None:
            raise NotReplicable(f"{theirs.name} and {ours.name} have nothing in common")
        if self.layers.get(their_node) not in (None, first) or self.layers.get(our_node) not in (None, template.at):
            raise NotReplicable(f"{ours.name} belongs to another layer")
        if _signature(their_node) != _signature(our_node) or theirs.index() != ours.index():
            raise NotReplicable(f"{their_node.name} and {our_node.name} differ")
        for name, attribute in our_node.attributes.items():
            if not _equal(attribute.value, their_node.attributes[name].value):
                raise NotReplicable(f"{their_node.name} and {our_node.name} differ in {name}")
        template.nodes.add(our_node)
        inputs = list(zip(their_node.inputs, our_node.inputs, strict=True))
        swapped = list(zip(their_node.inputs, reversed(our_node.inputs), strict=True))
        if our_node.op_type in COMMUTATIVE and _has_same(swapped) and not _has_same(inputs):
            inputs = swapped  # sums of dimensions are in the order of their symbols
        return [*inputs, *zip(their_node.outputs, our_node.outputs, strict=True)]

    # --- layers added ---

    def _replicate(self, template: _Template, number: int, hidden: ir.Value | None) -> ir.Value | None:
        """Add a layer; returns what it hands on."""
        new: dict[ir.Value | None, ir.Value | None] = {self.received[template.at]: hidden}
        for value, name in template.weights.items():
            new[value] = self._add_weight(number, name)
        for value in self._numbered(self.graph.inputs, self.inputs, template):
            new[value] = added = _like(value, renumbered(value.name or "", number))
            self.graph.inputs.append(added)
        for node in [node for node in self.graph if node in template.nodes]:
            copy = _copied(node, number, new)
            self.layers[copy] = ADDED
            self.graph.append(copy)
        for value in self._numbered(self.graph.outputs, self.outputs, template):
            written = new.get(value)
            if written is None:
                raise NotReplicable(f"{value.name} does not depend on its layer")
            written.name = renumbered(value.name or "", number)
            self.graph.outputs.append(written)
        return new.get(self.handed[template.at])

    def _numbered(self, values: Iterable[ir.Value], names: set[str], template: _Template) -> list[ir.Value]:
        number = self.stack.kept[template.at]
        return [value for value in values if value.name in names and number_of(value.name) == number]

    def _add_weight(self, number: int, name: str) -> ir.Value:
        """An initializer that shares the memory of a layer's parameter or buffer."""
        import onnx_ir as ir

        owner, _, leaf = name.rpartition(".")
        weight: torch.Tensor = getattr(self.stack.layers[number].get_submodule(owner), leaf)
        tensor = ir.tensor_adapters.TorchTensor(weight.detach(), name=f"{self._place(number)}{name}")
        value = ir.Value(name=tensor.name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.added.append(value)
        return value

    def _rewire(self, value: ir.Value | None, replacement: ir.Value | None, at: int) -> None:
        """Let a traced layer, or what follows the last one, read another value than it was traced with."""
        if value is None or replacement is None or value is replacement:
            return
        for node, index in value.uses():
            if self.layers.get(node) == (at if at <= self.last else None):
                node.replace_input_with(index, replacement)
        if at > self.last and value.is_graph_output():
            value.name, replacement.name = f"{value.name}/{self.stack.kept[-1]}", value.name
            self.graph.outputs[self.graph.outputs.index(value)] = replacement

    def _place_weights(self) -> None:
        """Name the weights of traced layers by the whole model's, and add those of the others."""
        initializers = self.graph.initializers
        own = re.compile(re.escape(f"{self.prefix}{self.stack.name}.") + r"(\d+)\.(.*)")
        for value in list(initializers.values()):
            if value.name and (found := own.fullmatch(value.name)):
                del initializers[value.name]
                value.name = f"{self._place(self.stack.kept[int(found[1])])}{found[2]}"
                self.added.append(value)
        for value in self.added:
            self.graph.register_initializer(value)


def _only(values: Iterable[ir.Value]) -> ir.Value | None:
    """The single value, or None.

    Raises:
        NotReplicable: there are several.
    """
    several = list(dict.fromkeys(values))
    if len(several) > 1:
        raise NotReplicable(f"a layer hands on several values: {[value.name for value in several]}")
    return several[0] if several else None


def _layers(graph: ir.Graph, stack: str) -> tuple[str, dict[ir.Node, int]]:
    """The prefix of module names, and the position of the layer for each node that belongs to one.

    What is computed between two layers, outside of both, belongs to the first.
    """
    pattern = re.compile(rf"'((?:[\w.]+\.)?){re.escape(stack)}\.(\d+)'")
    nodes = [node for node in graph if node.op_type != "Constant"]
    scopes = {node: found for node in nodes if (found := pattern.search(node.metadata_props.get(SCOPES, "")))}
    prefix = min((found[1] for found in scopes.values()), key=len, default="")
    layers = {node: int(found[2]) for node, found in scopes.items() if found[1] == prefix}
    after: dict[ir.Node, int] = {}  # nodes outside, by the last layer that they depend on
    for node in nodes:
        known = [layers.get(one, after.get(one)) for value in node.inputs if value and (one := value.producer())]
        reached = [at for at in known if at is not None]
        if node not in layers and reached:
            after[node] = max(reached)
    for node in reversed(after):
        if any(use.node in layers for value in node.outputs for use in value.uses()):
            layers[node] = after[node]
    return prefix, layers


def _signature(node: ir.Node) -> tuple[object, ...]:
    return (node.op_type, node.domain, node.overload, len(node.inputs), len(node.outputs), *sorted(node.attributes))


def _has_same(pairs: Iterable[tuple[ir.Value | None, ir.Value | None]]) -> bool:
    return any(one is other for one, other in pairs)


def _is_constant(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_initializer() if producer is None else producer.op_type == "Constant"


def _constant(value: ir.Value) -> object:
    producer = value.producer()
    return value.const_value if producer is None else next(iter(producer.attributes.values())).value


def _equal(one: object, other: object) -> bool:
    """Whether two constants or attributes are equal; subgraphs never are."""
    import onnx_ir as ir

    if isinstance(one, ir.TensorProtocol) and isinstance(other, ir.TensorProtocol):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()
    return bool(one == other)


def _like(value: ir.Value, name: str) -> ir.Value:
    import onnx_ir as ir

    return ir.Value(name=name, shape=value.shape, type=value.type)


def _copied(node: ir.Node, number: int, new: dict[ir.Value | None, ir.Value | None]) -> ir.Node:
    """A node of another layer; what it writes is added to `new`."""
    import onnx_ir as ir

    outputs = [_like(value, f"{value.name}/{number}") for value in node.outputs]
    copy = ir.Node(
        node.domain,
        node.op_type,
        [new.get(value, value) for value in node.inputs],
        node.attributes.values(),
        overload=node.overload,
        outputs=outputs,
        version=node.version,
        name=f"{node.name}/{number}",
        metadata_props=dict(node.metadata_props),
    )
    new.update(zip(node.outputs, outputs, strict=True))
    return copy
