"""The tensors that a file stores: which are parameters, how many values they hold, and which node uses them first.

Parameters are the stored tensors of numbers with more than one value, each counted once: initializers and Constant
nodes, also those of bodies and functions. Sizes, indices, and the scales and zero points of quantized weights are not
parameters; of a sparse tensor the stored values count.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any

from edgeprof.counting import macs
from edgeprof.counting.contrib_shapes import MS, experts_packing, packing
from edgeprof.counting.flatten import CONTROL_FLOW, Flat, Node
from edgeprof.counting.qdq_fusion import EIGHT_BITS
from edgeprof.counting.reading import OF_FUNCTION
from edgeprof.counting.tensors import Tensor

NO_NUMBERS = {6, 7, 8, 9, 12, 13}  # TensorProto: INT32, INT64, STRING, BOOL, UINT32, UINT64
INT64, FLOAT, STRING = 7, 1, 8


Place = tuple[str, Any]
"""See `place`."""


class StoredWeights:
    """Stored tensors, the tensors computed from nothing else, and the parameters in each."""

    def __init__(self, flat: Flat) -> None:
        """
        Args:
            flat: all nodes of the file (`flatten.everything`).
        """
        self.stored: dict[str, Tensor] = {}
        self.sources: dict[str, tuple[str, ...]] = {}  # constants -> the tensors they are computed from
        self._formats: set[str] = set()  # scales and zero points, and their sources
        self._integers: set[str] = set()  # weights in integers of 32 bits: biases of quantized products
        self._narrow: set[str] = set()  # constants of 8 bits, and tensors computed from them
        self._table: dict[str, str] = {}  # rows that are looked up -> the table
        self._unscaled: set[str] = set()  # 8-bit weights, or rows of them, cast to floating point but not yet scaled
        self._packed: dict[str, int] = {}  # numbers in tensors that hold several in an element
        self._shared: dict[tuple[str, str], str] = {}  # Constants of functions that are called several times
        for name, tensor in flat.stored.items():
            self._store(name, stored_tensor(tensor))
        scales = {name for node in flat.node if node.operator == "DynamicQuantizeLinear" for name in node.output[1:]}
        for node in flat.node:
            self._trace(node, scales)
        self.constants = set(self.sources)
        self.parameters = {name: self._elements(name) for name in self.stored}
        self.total_bytes = sum(tensor.nbytes for tensor in self.stored.values())
        self._only_formats: dict[str, bool] = {}
        for name, parts in self.sources.items():  # sources come before what is computed from them
            alone = all(self._only_formats.get(part, False) for part in parts)
            self._only_formats[name] = alone if parts else name in self._formats

    @property
    def total(self) -> int:
        return sum(self.parameters.values())

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is computed from nothing but weights, and not from their scales alone."""
        return not self._only_formats.get(name, True)

    def operands(self, node: Node) -> list[str]:
        """The operands of a product or lookup that are weights, or are computed from nothing else."""
        names = [node.input[at] for at in macs.OPERANDS.get(node.operator, ()) if at < len(node.input)]
        return [name for name in names if self.is_weight(name)]

    def origins(self, name: str, but: Container[str] = ()) -> list[str]:
        """A constant and all constants that it is computed from.

        Args:
            but: tensors to skip, with their sources.
        """
        seen: dict[str, None] = {}
        waiting = [name]
        while waiting:
            at = waiting.pop()
            if at in self.sources and at not in seen and at not in but:
                seen[at] = None
                waiting += self.sources[at]
        return list(seen)

    def values(self, name: str) -> int:
        """Number of parameters that a tensor is computed from."""
        return sum(self.parameters.get(origin, 0) for origin in self.origins(name))

    # --- tracing weights ---

    def _store(self, name: str, tensor: Tensor) -> None:
        self.stored[name] = tensor
        self.sources[name] = ()
        if tensor.dtype in EIGHT_BITS:
            self._narrow.add(name)

    def _trace(self, node: Node, scales: set[str]) -> None:
        """Follow weights through nodes that read nothing but weights, and mark scales and zero points."""
        kind, used = node.operator, [name for name in node.input if name]
        if kind == "Constant":
            self._constant(node)
            return
        for position in macs.QUANTIZATION.get(kind, ()):
            if position < len(node.input):
                self._mark_format(node.input[position])
        for position, elements in _packed(node):
            for origin in self.origins(node.input[position]):
                if origin in self.stored:
                    self._packed.setdefault(origin, elements(self.stored[origin]))
        if kind == "DequantizeLinear" and used and used[0] in self.stored:
            self._integers.add(used[0])
        if kind == "Mul" and not scales.isdisjoint(used):  # the scale of the product of two quantized matrices
            for name in used:
                self._mark_format(name)
        self._trace_scales(node, used)
        if kind not in CONTROL_FLOW and used and all(name in self.sources for name in used):
            self.sources.update(dict.fromkeys((name for name in node.output if name), tuple(used)))
            if not self._narrow.isdisjoint(used):
                self._narrow.update(node.output)

    def _constant(self, node: Node) -> None:
        tensor, shared_key = constant_tensor(node)
        for name in node.output:
            first = self._shared.setdefault(shared_key, name) if shared_key else name
            if first == name:
                self._store(name, tensor)
            else:
                self.sources[name] = (first,)

    def _trace_scales(self, node: Node, used: list[str]) -> None:
        """Mark the scales of integers that are dequantized by Cast and Mul, in place of a DequantizeLinear."""
        if node.operator == "Gather" and used and used[0] in self.sources:
            self._table.update(dict.fromkeys(node.output, used[0]))
        elif node.operator == "Cast" and used and self._table.get(used[0], used[0]) in self._narrow:
            self._unscaled.update(node.output)
        elif node.operator == "Mul" and not self._unscaled.isdisjoint(used):
            for name in used:
                if name not in self._unscaled:
                    self._mark_format(name if name in self.sources else self._table.get(name, ""))

    def _mark_format(self, name: str) -> None:
        self._formats.update(self.origins(name, but=self._formats))

    def _elements(self, name: str) -> int:
        tensor = self.stored[name]
        indices = tensor.dtype in NO_NUMBERS and name not in self._integers
        if indices or name in self._formats or tensor.size <= 1:
            return 0
        return self._packed.get(name, tensor.size)


class FirstUses:
    """Assigns weights to the first node that uses them."""

    def __init__(self, weights: StoredWeights) -> None:
        self.weights = weights
        self._assigned: set[str] = set()

    def of(self, node: Node) -> tuple[int, int]:
        """Parameters and bytes of the weights that a node is the first to use."""
        if node.output and node.output[0] in self.weights.constants:
            return 0, 0
        return self._assign(node.input)

    def unused(self) -> tuple[int, int]:
        """Parameters and bytes of the weights that no node uses."""
        return self._assign(list(self.weights.stored))

    def _assign(self, names: Sequence[str]) -> tuple[int, int]:
        params = nbytes = 0
        for name in names:
            if name in self._assigned or name not in self.weights.sources:
                continue
            origins = self.weights.origins(name, but=self._assigned)
            self._assigned.update(origins)
            params += sum(self.weights.parameters.get(origin, 0) for origin in origins)
            nbytes += sum(self.weights.stored[origin].nbytes for origin in origins if origin in self.weights.stored)
        return params, nbytes


PACKED: dict[str, tuple[tuple[int, ...], str]] = {
    MS + "MatMulNBits": ((1,), "bits"),
    MS + "MatMulBnb4": ((1,), "bits"),
    MS + "GatherBlockQuantized": ((0,), "bits"),
    MS + "QMoE": ((2, 5, 8), ""),
}
"""Inputs whose elements hold several numbers, and the attribute with the bits of one."""


def _packed(node: Node) -> list[tuple[int, Callable[[Tensor], int]]]:
    """Inputs that are packed, and a function that counts the numbers in such a tensor."""
    if node.operator not in PACKED:
        return []
    positions, bits = PACKED[node.operator]
    options = node.attributes

    def numbers(tensor: Tensor, at: int) -> int:
        if "N" in options and "K" in options:  # the last block of a row may be padded
            return int(options["N"]) * int(options["K"])
        if not bits:
            return tensor.size * experts_packing(tensor.dtype, options, at)
        return tensor.size * packing(tensor.dtype, options, bits)

    given = [(at, where) for at, where in enumerate(positions, 1) if where < len(node.input) and node.input[where]]
    return [(where, partial(numbers, at=at)) for at, where in given]


def place(name: str, tensor: Any) -> Place:
    """Where a tensor is stored: equal for a weight that several graphs read from one data file, or hold by one name."""
    entries = {entry.key: entry.value for entry in getattr(tensor, "external_data", ())}
    if "location" in entries:
        return (entries["location"], entries.get("offset", "0"))
    return (name, tuple(stored_tensor(tensor).shape or ()))


def stored_tensor(tensor: Any) -> Tensor:
    """Type and shape of an initializer; of a sparse one, of the values that it stores."""
    import onnx

    if isinstance(tensor, onnx.SparseTensorProto):
        tensor = tensor.values
    return Tensor(tensor.data_type, tuple(tensor.dims))


def constant_tensor(node: Node) -> tuple[Tensor, tuple[str, str] | None]:
    """Type and shape of a Constant; and, in a function, the key that all calls share."""
    import onnx

    for name, value in node.attributes.items():
        if isinstance(value, onnx.TensorProto | onnx.SparseTensorProto):
            dense = value if isinstance(value, onnx.TensorProto) else value.values
            shared = (dense.doc_string, dense.name) if dense.doc_string.startswith(OF_FUNCTION) else None
            return stored_tensor(value), shared
        dtype = FLOAT if "float" in name else INT64 if "int" in name else STRING
        return Tensor(dtype, (len(value),) if isinstance(value, list) else ()), None
    return Tensor(0, None), None
