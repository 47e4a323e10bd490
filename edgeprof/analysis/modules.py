"""From times of nodes and counts of nodes to times of modules: what each part of a transformer takes, computes, moves.

A profile names the nodes that ran, and a count those of the graph that the runtime made of the file. They are joined by
operator and name; what has no partner, such as a convolution that was given another layout and with it another name, by
operator alone, in order; what is left ran unseen by the count, and is "other".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from edgeprof.counting import NodeWork
from edgeprof.schema import MODULES, ModuleTime, NodeTime

Joined = tuple[NodeTime | None, NodeWork | None]
OTHER = MODULES[-1]


def module_times(times: Sequence[NodeTime], works: Sequence[NodeWork]) -> tuple[ModuleTime, ...]:
    """The sum over each module, the longest time first. All times and all counts are in them."""
    modules: dict[str, list[Joined]] = {}
    for time, work in joined(times, works):
        modules.setdefault(work.module if work else OTHER, []).append((time, work))
    sums = (_sum(module, members) for module, members in modules.items())
    return tuple(sorted(sums, key=lambda one: -one.time_s))


def joined(times: Sequence[NodeTime], works: Iterable[NodeWork]) -> Iterator[Joined]:
    """Each time with its work, then the work of nodes that have no time."""
    named: dict[tuple[str, str], deque[NodeWork]] = {}
    for work in works:
        named.setdefault((work.operator, work.name), deque()).append(work)
    left = []
    for time in times:
        same = named.get((time.operator, time.name))
        if same:
            yield time, same.popleft()
        else:
            left.append(time)
    unclaimed: dict[str, deque[NodeWork]] = {}
    for (operator, _), same in named.items():
        unclaimed.setdefault(operator, deque()).extend(same)
    for time in left:
        same = unclaimed.get(time.operator)
        yield time, same.popleft() if same else None
    yield from ((None, work) for same in unclaimed.values() for work in same)


def _sum(module: str, members: Sequence[Joined]) -> ModuleTime:
    works = [work for _, work in members if work]
    multiplied: Counter[str] = Counter()
    for work in works:
        multiplied[work.precision] += work.macs
    return ModuleTime(
        module=module,
        nodes=sum(time is not None for time, _ in members),
        time_s=sum(time.time_s for time, _ in members if time),
        macs=sum(work.macs for work in works),
        weights_bytes=sum(work.weights_bytes for work in works),
        activation_bytes=sum(work.activation_bytes for work in works),
        precision=multiplied.most_common(1)[0][0] if multiplied.total() else "fp32",
    )
