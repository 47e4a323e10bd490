"""What of its arena onnxruntime's CPU provider touches: the resident memory of a run beside weights.

The first run takes every planned buffer from the arena by itself. Then the plan is laid out as one block (a memory
pattern), and from the second run on that block is taken whole; the arena keeps what the first run used. Outputs stay.
Sources: onnxruntime/core/framework/bfc_arena.cc (best fit with coalescing, regions that double from 1 MiB, chunks split
at twice the request), mem_pattern_planner.h, execution_frame.cc.
"""

from __future__ import annotations

from bisect import bisect_left, insort
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
    placed: dict[int, tuple[int, int]] = {}  # buffer -> where it begins, and its size
    block, most = _Block(), 0
    for index in range(nodes):
        for buffer in events.born(index):
            size = _rounded(buffer.nbytes)
            placed[id(buffer)] = (block.place(size), size)
            most = max(most, block.end)
        for buffer in events.dead(index):
            block.release(*placed.pop(id(buffer)))
    return most


class _Block:
    """Where buffers lie, by the gaps between them: `end` is where the last one ends."""

    def __init__(self) -> None:
        self.end = 0
        self._gaps: list[tuple[int, int]] = []  # size and start, sorted
        self._starts: dict[int, int] = {}  # start of a gap -> its end
        self._ends: dict[int, int] = {}  # and back

    def place(self, size: int) -> int:
        """The start of the smallest gap that holds `size`, the first of several; behind everything if there is none."""
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
        """Join what becomes free with the gaps beside it."""
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
        """By which the best of free chunks is the least: the smallest, the earliest of several."""
        return self.size, self.region, self.start


class Arena:
    """Regions of chunks. Only what was ever handed out counts as touched: the kernel gives memory page by page."""

    def __init__(self) -> None:
        self.next_region = FIRST_REGION
        self.regions: list[int] = []  # their sizes
        self.used: list[set[tuple[int, int]]] = []  # of each region, what was handed out
        self._free: list[tuple[int, int, int]] = []  # places, sorted
        self._at: dict[tuple[int, int, int], Chunk] = {}

    def take(self, nbytes: int) -> Chunk:
        size = _rounded(nbytes)
        chunk = self._best(size) or self._extend(size)
        self._withdraw(chunk)
        if chunk.size >= 2 * size:
            rest = Chunk(chunk.region, chunk.start + size, chunk.size - size, before=chunk, after=chunk.after)
            if chunk.after:
                chunk.after.before = rest
            chunk.after, chunk.size = rest, size
            self._offer(rest)
        self.used[chunk.region].add((chunk.start, chunk.start + size))
        return chunk

    def give_back(self, chunk: Chunk) -> None:
        """Free a chunk and join it with free neighbours."""
        if chunk.after and chunk.after.free:
            self._withdraw(chunk.after)
            self._join(chunk, chunk.after)
        if chunk.before and chunk.before.free:
            self._withdraw(chunk.before)
            chunk = self._join(chunk.before, chunk)
        self._offer(chunk)

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
        at = bisect_left(self._free, (size, -1, -1))
        return self._at[self._free[at]] if at < len(self._free) else None

    def _extend(self, size: int) -> Chunk:
        """A new region: as large as the next step, or doubled until the request fits."""
        grown = self.next_region
        while grown < size:
            grown *= 2
        self.next_region = grown if grown > self.next_region else 2 * grown
        chunk = Chunk(len(self.regions), 0, grown)
        self.regions.append(grown)
        self.used.append(set())
        self._offer(chunk)
        return chunk

    @staticmethod
    def _join(first: Chunk, second: Chunk) -> Chunk:
        first.size += second.size
        first.after = second.after
        if second.after:
            second.after.before = first
        return first

    def _offer(self, chunk: Chunk) -> None:
        chunk.free = True
        self._at[chunk.place] = chunk
        insort(self._free, chunk.place)

    def _withdraw(self, chunk: Chunk) -> None:
        chunk.free = False
        del self._at[chunk.place]
        del self._free[bisect_left(self._free, chunk.place)]
