"""What onnxruntime's CPU provider holds of the weights, and what loading them takes at most.

Found by loading exported and hand-made files with prepacking, optimization, the arena and the mapping of weights
switched on and off, and reading /proc/self/smaps (onnxruntime 1.32, x86-64, glibc 2.36):

- Weights in a data file are mapped. A page is resident from its first use: whole tensors where a kernel reads them,
  and around the rows that a lookup takes, as much as the system maps at once (`measure.memory.window_bytes`: 64 KiB,
  or 2 MiB where the file is cached in huge pages). Weights in the .onnx file are copied into memory.
- What is computed from nothing but weights is computed once (constant folding) and held in memory: a transposed LM
  head, a packed embedding in another shape, fp16 weights in fp32 where kernels compute in fp32. The largest such
  result is in memory twice for a moment.
- Kernels of products repack their constant factor (session.disable_prepacking), node after node. The original is
  freed as soon as no other node reads it, so that loading takes the packed weights and one original at most; a tied
  LM head keeps both. MatMulNBits packs scales and the sums of blocks with its weights, and keeps the scales.
- glibc's heap keeps what was freed below something still in use. A matrix is packed into a little more than its size
  in the .onnx file, and does not fit into the gap that another one left (of int8 less is kept than predicted here);
  what was computed leaves gaps that fit. Allocations above `MAPPED_FROM` are returned.

Sources: onnxruntime/core/framework/session_state.cc (PrepackConstantInitializedTensors), session_state_utils.cc,
core/mlas/lib (GemmPackBSize, QNBitGemmPackQuantBDataSize), core/optimizer/constant_folding.cc, malloc(3) of glibc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from edgeprof.counting.arena import Block
from edgeprof.counting.contrib_shapes import FLOAT, MS
from edgeprof.counting.records import HeldWeights, Table
from edgeprof.counting.tensors import Tensor

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node

MAPPED_FROM = 32 << 20
"""glibc maps larger allocations one by one, and returns them when they are freed (M_MMAP_THRESHOLD_MAX)."""
NODE_BYTES = 9_500
"""Of a session, for each node of its file: a line through sessions of 125 to 700 nodes, prepacking switched off."""
CHUNK = 128
"""Bytes by which a gap must be larger than a packed matrix, which is aligned."""
FLOAT16, COLUMNS = 10, 16

LOOKUPS = {"Gather", MS + "GatherBlockQuantized"}
HALF_PRECISION = {"Gather", "Cast"}
"""Operators that read fp16 weights as they are."""

Packing = Callable[[Tensor, dict[str, Any]], int]


def _aligned(columns: int) -> int:
    return -(-columns // COLUMNS) * COLUMNS


def _matrix(tensor: Tensor, attributes: dict[str, Any]) -> int:
    """A matrix [rows, columns], or transposed, whose columns are filled up to sixteen."""
    if tensor.shape is None or len(tensor.shape) != 2:
        return 0
    rows, columns = tensor.shape[::-1] if attributes.get("transB") else tensor.shape
    sums = 4 * _aligned(columns) if tensor.dtype != FLOAT else 0
    return Tensor(tensor.dtype, (rows, _aligned(columns))).nbytes + sums


def _whole(tensor: Tensor, _: dict[str, Any]) -> int:
    return tensor.nbytes


def _blocks(tensor: Tensor, _: dict[str, Any]) -> int:
    """Packed integers [columns, blocks, bytes], with a scale and a sum in fp32 for each block."""
    if tensor.shape is None or len(tensor.shape) != 3:
        return 0
    columns, blocks, _size = tensor.shape
    return tensor.nbytes + 4 * blocks * (columns + _aligned(columns))


PACKED: dict[str, dict[int, Packing]] = {
    "MatMul": {1: _matrix},
    "Gemm": {1: _matrix},
    "MatMulInteger": {1: _matrix},
    "QLinearMatMul": {3: _matrix},
    "LSTM": {1: _whole, 2: _whole},
    "GRU": {1: _whole, 2: _whole},
    "Conv": {1: _whole},
    MS + "Attention": {1: _matrix},
    MS + "QAttention": {1: _matrix},
    MS + "FusedMatMul": {1: _matrix},
    MS + "DynamicQuantizeMatMul": {1: _matrix},
    MS + "MatMulIntegerToFloat": {1: _matrix},
    MS + "QGemm": {3: _matrix},
    MS + "MatMulNBits": {1: _blocks},
}
"""Operators and the inputs that they repack."""


def held(
    graph: Flat,
    tensors: Mapping[str, Tensor],
    constants: set[str],
    *,
    run: Flat,
) -> HeldWeights:
    """What a session holds of the weights after it is created, after its runs, and at most while it is created.

    Args:
        graph: all nodes of the file.
        tensors: the shape of every tensor.
        constants: tensors that are stored, or computed when the graph is loaded.
        run: the nodes that run, for the rows that they look up.
    """
    loading = _Loading(graph, tensors, constants)
    loading.fold()
    unpacked = loading.copied_bytes
    loading.pack()
    whole, tables = loading.read_by(run)
    return HeldWeights(
        mapped_bytes=loading.mapped_bytes,
        touched_bytes=whole,
        tables=tables,
        copied_bytes=loading.copied_bytes,
        packed_bytes=loading.packed_bytes,
        unpacked_bytes=unpacked,
        kept_bytes=loading.heap.nbytes - loading.copied_bytes - loading.packed_bytes,
        session_bytes=NODE_BYTES * len(graph.node),
        most_bytes=loading.most_bytes,
    )


@dataclass
class _Heap:
    """Memory of malloc: large allocations are returned, others leave gaps that are used again."""

    block: Block = field(default_factory=Block)
    large: int = 0

    def allocate(self, nbytes: int) -> tuple[int, int] | int:
        if nbytes >= MAPPED_FROM:
            self.large += nbytes
            return nbytes
        return self.block.place(nbytes), nbytes

    def free(self, place: tuple[int, int] | int) -> None:
        if isinstance(place, int):
            self.large -= place
        else:
            self.block.release(*place)

    @property
    def nbytes(self) -> int:
        return self.large + self.block.end


class _Loading:
    def __init__(self, graph: Flat, tensors: Mapping[str, Tensor], constants: set[str]) -> None:
        self.graph, self.constants = graph, constants
        self.heap = _Heap()
        self.copies: dict[str, tuple[int, tuple[int, int] | int]] = {}  # weights in memory: bytes, place
        self.mapped: dict[str, int] = {}  # weights in a data file
        self.read: dict[str, int] = {}  # of these, in memory
        self.packed_bytes = self.most_bytes = 0
        self.sizes = tensors
        self.readers: dict[str, list[Node]] = {}
        for node in graph.node:
            if not self._is_folded(node):
                for name in {name for name in node.input if name in constants}:
                    self.readers.setdefault(name, []).append(node)
        for name in sorted(graph.stored, key=lambda name: crc32(name.encode())):  # as in a hash map: in no order
            if getattr(graph.stored[name], "data_location", 0):  # TensorProto.EXTERNAL
                self.mapped[name] = self._size(name)
            else:
                self._copy(name, self._size(name))
                self.heap.allocate(CHUNK)  # its name and shape: gaps do not merge
        self._note(max((size for size, _ in self.copies.values()), default=0))  # copied one by one

    def fold(self) -> None:
        """Compute what depends on weights alone, and drop weights that nothing else reads."""
        folded = [name for node in self.graph.node if self._is_folded(node) for name in node.output if name]
        largest = 0
        for name in folded:
            if name in self.sizes:
                self._copy(name, self._size(name), CHUNK)
                largest = max(largest, self._size(name))
        for name in [name for name in self.readers if self._is_widened(name)]:
            size = 2 * self._size(name)
            self._drop(name)
            self._copy(name, size, CHUNK)
            largest = max(largest, size)
        self._note(largest)
        for name in [*self.copies, *self.mapped]:
            if name not in self.readers:
                self._drop(name)

    def pack(self) -> None:
        """Repack the factors of products, node after node."""
        waiting = {name: len(readers) for name, readers in self.readers.items()}
        for node in self.graph.node:
            for at, packing in PACKED.get(node.operator, {}).items():
                name = node.input[at] if at < len(node.input) else ""
                if name not in waiting or not (size := packing(self._tensor(name), node.attributes)):
                    continue
                self._touch(name)
                self.heap.allocate(size + CHUNK)
                self.packed_bytes += size
                if node.operator == MS + "MatMulNBits":
                    self._touch(node.input[2])
                self._note()
                waiting[name] -= 1
                if not waiting[name]:
                    self._drop(name)

    def read_by(self, run: Flat) -> tuple[int, tuple[Table, ...]]:
        """Bytes of mapped weights that the runs are first to read as a whole, and the tables that they look up."""
        whole: dict[str, int] = {}
        rows: dict[str, int] = {}
        for node in run.node:
            for at, name in enumerate(node.input):
                if self._is_folded(node) or name not in self.mapped or name in self.read:
                    continue
                if node.operator in LOOKUPS and at != 1 and not node.attributes.get("axis", 0):
                    rows[name] = rows.get(name, 0) + self.sizes.get(node.input[1], Tensor(0, None)).size
                else:
                    whole[name] = self.mapped[name]
        tables = tuple(
            Table(nbytes=self.mapped[name], lookups=count) for name, count in rows.items() if name not in whole
        )
        return sum(whole.values()), tables

    @property
    def mapped_bytes(self) -> int:
        return sum(self.read.values())

    @property
    def copied_bytes(self) -> int:
        return sum(size for size, _ in self.copies.values())

    def _is_folded(self, node: Node) -> bool:
        return node.op_type != "Constant" and bool(node.output) and node.output[0] in self.constants

    def _is_widened(self, name: str) -> bool:
        """Whether it is in fp16, and read by a kernel that computes in fp32."""
        half = name in self.sizes and self.sizes[name].dtype == FLOAT16
        return half and any(node.operator not in HALF_PRECISION for node in self.readers[name])

    def _tensor(self, name: str) -> Tensor:
        """A weight as kernels get it."""
        tensor = self.sizes.get(name, Tensor(0, None))
        return Tensor(FLOAT, tensor.shape) if tensor.dtype == FLOAT16 and name in self.copies else tensor

    def _size(self, name: str) -> int:
        return self.sizes[name].nbytes if name in self.sizes else 0

    def _copy(self, name: str, size: int, room: int = 0) -> None:
        self.copies[name] = size, self.heap.allocate(size + room)

    def _touch(self, name: str) -> None:
        if name in self.mapped:
            self.read[name] = self.mapped[name]

    def _drop(self, name: str) -> None:
        self.mapped.pop(name, None)
        self.read.pop(name, None)
        if name in self.copies:
            self.heap.free(self.copies.pop(name)[1])

    def _note(self, besides: int = 0) -> None:
        self.most_bytes = max(self.most_bytes, self.heap.nbytes + self.mapped_bytes + besides)
