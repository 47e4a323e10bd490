"""Memory that onnxruntime's CPU arena touches: the resident memory of a run, beside weights.

The first run allocates every planned buffer from the arena separately. Its buffers are then laid out as one block (a
memory pattern), which every later run allocates as a whole; the arena keeps what the first run used. Outputs stay.
Sources: onnxruntime/core/framework/bfc_arena.cc (best fit with coalescing, regions that double from 1 MiB, chunks split
at twice the request), mem_pattern_planner.h, execution_frame.cc.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from edgeprof.counting.planner import AllocationPlan, Buffer, Lifetimes

UNIT = 256  # bytes; every chunk is a multiple
FIRST_REGION = 2**20


def resident_bytes(plan: AllocationPlan, workspaces: Sequence[int]) -> int:
    """Bytes by which a process grows in two runs: the inputs, and the part of the arena that is touched.

    Args:
        workspaces: bytes of scratch memory that each node needs while it runs.
    """
    arena = Arena()
    held: dict[int, Chunk] = {}
    lifetimes = Lifetimes(plan.buffers)
    for index, workspace in enumerate(workspaces):
        for buffer in lifetimes.allocated_at(index):
            held[id(buffer)] = arena.allocate(buffer.nbytes)
        _use(arena, workspace)
        for buffer in lifetimes.freed_after(index):
            arena.free(held.pop(id(buffer)))
    if block := pattern_bytes(plan.buffers, len(workspaces)):
        arena.allocate(block)
        for workspace in workspaces:
            _use(arena, workspace)
    return plan.inputs_bytes + arena.touched_bytes


def _use(arena: Arena, nbytes: int) -> None:
    """Allocate scratch memory and free it."""
    if nbytes:
        arena.free(arena.allocate(nbytes))


def pattern_bytes(buffers: Sequence[Buffer], nodes: int) -> int:
    """Size of the block that holds all planned buffers except the graph's outputs, each in the tightest gap."""
    lifetimes = Lifetimes([buffer for buffer in buffers if not buffer.output])
    placed: dict[int, tuple[int, int]] = {}  # buffer -> where it begins, and its size
    block, most = Block(), 0
    for index in range(nodes):
        for buffer in lifetimes.allocated_at(index):
            size = _rounded(buffer.nbytes)
            placed[id(buffer)] = (block.place(size), size)
            most = max(most, block.end)
        for buffer in lifetimes.freed_after(index):
            block.release(*placed.pop(id(buffer)))
    return most


class Block:
    """The layout of buffers, kept as the gaps between them; `end` is the end of the last buffer."""

    def __init__(self) -> None:
        self.end = 0
        self._gaps: list[tuple[int, int]] = []  # size and start, sorted
        self._starts: dict[int, int] = {}  # start of a gap -> its end
        self._ends: dict[int, int] = {}  # and back

    def place(self, size: int) -> int:
        """The start of the smallest gap of at least `size`, the earliest of several; the end if there is none."""
        at = bisect_left(self._gaps, (size, -1))
        if at == len(self._gaps):
            self.end += size
            return self.end - size
        _, start = self._gaps[at]
        stop = self._close(start)
        if stop > start + size:
            self._open(start + size, stop)
        return start

    def release(self, start: int, size: int) -> None:
        """Free a buffer and merge it with adjacent gaps."""
        stop = start + size
        if start in self._ends:
            start = self._ends[start]
            self._close(start)
        if stop in self._starts:
            stop = self._close(stop)
        if stop == self.end:
            self.end = start
        else:
            self._open(start, stop)

    def _open(self, start: int, stop: int) -> None:
        insort(self._gaps, (stop - start, start))
        self._starts[start], self._ends[stop] = stop, start

    def _close(self, start: int) -> int:
        stop = self._starts.pop(start)
        del self._ends[stop]
        del self._gaps[bisect_left(self._gaps, (stop - start, start))]
        return stop


def _rounded(nbytes: int) -> int:
    return max(UNIT, -(-nbytes // UNIT) * UNIT)


# --- the arena -----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Chunk:
    region: int
    start: int
    size: int
    free: bool = True
    before: Chunk | None = None  # neighbours in its region
    after: Chunk | None = None

    @property
    def place(self) -> tuple[int, int, int]:
        """Sorting key of free chunks: the smallest first, the earliest of several."""
        return self.size, self.region, self.start


class Arena:
    """Regions of chunks. Only allocated ranges count as touched: the operating system commits memory page by page."""

    def __init__(self) -> None:
        self.next_region = FIRST_REGION
        self.regions: list[int] = []  # their sizes
        self.used: list[set[tuple[int, int]]] = []  # of each region, the ranges ever allocated
        self._free: list[tuple[int, int, int]] = []  # places, sorted
        self._at: dict[tuple[int, int, int], Chunk] = {}

    def allocate(self, nbytes: int) -> Chunk:
        size = _rounded(nbytes)
        chunk = self._best(size) or self._extend(size)
        self._remove_free(chunk)
        if chunk.size >= 2 * size:
            rest = Chunk(chunk.region, chunk.start + size, chunk.size - size, before=chunk, after=chunk.after)
            if chunk.after:
                chunk.after.before = rest
            chunk.after, chunk.size = rest, size
            self._add_free(rest)
        self.used[chunk.region].add((chunk.start, chunk.start + size))
        return chunk

    def free(self, chunk: Chunk) -> None:
        """Free a chunk and merge it with free neighbours."""
        if chunk.after and chunk.after.free:
            self._remove_free(chunk.after)
            self._merge(chunk, chunk.after)
        if chunk.before and chunk.before.free:
            self._remove_free(chunk.before)
            chunk = self._merge(chunk.before, chunk)
        self._add_free(chunk)

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
        """The smallest free chunk of at least `size`, the earliest of several."""
        at = bisect_left(self._free, (size, -1, -1))
        return self._at[self._free[at]] if at < len(self._free) else None

    def _extend(self, size: int) -> Chunk:
        """Add a region: of the next size, doubled until the request fits."""
        grown = self.next_region
        while grown < size:
            grown *= 2
        self.next_region = grown if grown > self.next_region else 2 * grown
        chunk = Chunk(len(self.regions), 0, grown)
        self.regions.append(grown)
        self.used.append(set())
        self._add_free(chunk)
        return chunk

    @staticmethod
    def _merge(first: Chunk, second: Chunk) -> Chunk:
        first.size += second.size
        first.after = second.after
        if second.after:
            second.after.before = first
        return first

    def _add_free(self, chunk: Chunk) -> None:
        chunk.free = True
        self._at[chunk.place] = chunk
        insort(self._free, chunk.place)

    def _remove_free(self, chunk: Chunk) -> None:
        chunk.free = False
        del self._at[chunk.place]
        del self._free[bisect_left(self._free, chunk.place)]
