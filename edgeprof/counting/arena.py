"""What of its arena onnxruntime's CPU provider touches: the resident memory of a run beside weights.

The first run takes every planned buffer from the arena by itself. Then the plan is laid out as one block (a memory
pattern), and from the second run on that block is taken whole; the arena keeps what the first run used. Outputs stay.
Sources: onnxruntime/core/framework/bfc_arena.cc (best fit with coalescing, regions that double from 1 MiB, chunks split
at twice the request), mem_pattern_planner.h, execution_frame.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeprof.counting.planner import Buffer, Plan

UNIT = 256  # bytes; every chunk is a multiple
FIRST_REGION = 2**20


def resident_bytes(plan: Plan, workspaces: Sequence[int]) -> int:
    """Bytes a process grows by in two runs: inputs, and what is touched of the arena.

    Args:
        workspaces: bytes that each node takes for itself while it runs.
    """
    arena = Arena()
    held: dict[int, Chunk] = {}
    events = _Events(plan.buffers)
    for index, workspace in enumerate(workspaces):
        for buffer in events.born(index):
            held[id(buffer)] = arena.take(buffer.nbytes)
        _pass(arena, workspace)
        for buffer in events.dead(index):
            arena.give_back(held.pop(id(buffer)))
    if block := pattern_bytes(plan.buffers, len(workspaces)):
        arena.take(block)
        for workspace in workspaces:
            _pass(arena, workspace)
    return plan.inputs_bytes + arena.touched_bytes


def _pass(arena: Arena, nbytes: int) -> None:
    """Take and give back."""
    if nbytes:
        arena.give_back(arena.take(nbytes))


class _Events:
    """Buffers by the node that first needs them, and by the one after which they are not held any more."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._born: dict[int, list[Buffer]] = {}
        self._dead: dict[int, list[Buffer]] = {}
        for buffer in buffers:
            self._born.setdefault(buffer.first, []).append(buffer)
            self._dead.setdefault(buffer.last, []).append(buffer)

    def born(self, index: int) -> list[Buffer]:
        return self._born.get(index, [])

    def dead(self, index: int) -> list[Buffer]:
        return self._dead.get(index, [])


def pattern_bytes(buffers: Sequence[Buffer], nodes: int) -> int:
    """The block that holds all planned buffers, outputs of the graph excepted: each in the tightest gap it fits."""
    events = _Events([buffer for buffer in buffers if not buffer.output])
    placed: dict[int, tuple[int, int]] = {}  # buffer -> from where to where
    most = 0
    for index in range(nodes):
        for buffer in events.born(index):
            size = _rounded(buffer.nbytes)
            start = _tightest(sorted(placed.values()), size)
            placed[id(buffer)] = (start, start + size)
            most = max(most, start + size)
        for buffer in events.dead(index):
            del placed[id(buffer)]
    return most


def _tightest(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Where the smallest gap begins that holds `size`; behind everything if there is none."""
    gaps, end = [], 0
    for start, stop in taken:
        if start - end >= size:
            gaps.append((start - end, end))
        end = max(end, stop)
    return min(gaps)[1] if gaps else end


def _rounded(nbytes: int) -> int:
    return max(UNIT, -(-nbytes // UNIT) * UNIT)


# --- the arena -----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Chunk:
    region: int
    start: int
    size: int
    free: bool = True


class Arena:
    """Regions of chunks. Only what was ever handed out counts as touched: the kernel gives memory page by page."""

    def __init__(self) -> None:
        self.regions: list[list[Chunk]] = []
        self.next_region = FIRST_REGION
        self.used: list[list[tuple[int, int]]] = []

    def take(self, nbytes: int) -> Chunk:
        size = _rounded(nbytes)
        chunk = self._best(size) or self._extend(size)
        if chunk.size >= 2 * size:
            chunks = self.regions[chunk.region]
            rest = Chunk(chunk.region, chunk.start + size, chunk.size - size)
            chunks.insert(chunks.index(chunk) + 1, rest)
            chunk.size = size
        chunk.free = False
        self.used[chunk.region].append((chunk.start, chunk.start + size))
        return chunk

    def give_back(self, chunk: Chunk) -> None:
        """Free a chunk and join it with free neighbours."""
        chunk.free = True
        chunks = self.regions[chunk.region]
        at = chunks.index(chunk)
        for first in (at, at - 1):
            if 0 <= first < len(chunks) - 1 and chunks[first].free and chunks[first + 1].free:
                chunks[first].size += chunks.pop(first + 1).size

    @property
    def touched_bytes(self) -> int:
        total = 0
        for spans in self.used:
            end = 0
            for start, stop in sorted(spans):
                total += max(stop - max(start, end), 0)
                end = max(end, stop)
        return total

    def _best(self, size: int) -> Chunk | None:
        """The smallest free chunk that is large enough, the earliest of several."""
        fitting = [chunk for chunks in self.regions for chunk in chunks if chunk.free and chunk.size >= size]
        return min(fitting, key=lambda chunk: (chunk.size, chunk.region, chunk.start), default=None)

    def _extend(self, size: int) -> Chunk:
        """A new region: as large as the next step, or doubled until the request fits."""
        grown = self.next_region
        while grown < size:
            grown *= 2
        self.next_region = grown if grown > self.next_region else 2 * grown
        chunk = Chunk(len(self.regions), 0, grown)
        self.regions.append([chunk])
        self.used.append([])
        return chunk
