"""What a probe says of a device in a few numbers: the ceilings of the roofline model.

Williams, Waterman and Patterson, Roofline: an insightful visual performance model for multicore architectures, 2009.
Work of m multiply-accumulates on b bytes takes at least max(m / peak, b / bandwidth); the ratio of the two is its
intensity. Peak and bandwidth are not those of the data sheet but what onnxruntime reached in a probe: the fastest
product in the precision, and the fastest operator on tensors larger than caches. A third limit is what onnxruntime
takes for every node, and for every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from edgeprof import units
from edgeprof.analysis.operator_classes import successful
from edgeprof.analysis.statistics import Interval, interval_between_rounds
from edgeprof.errors import RunError
from edgeprof.schema import (
    FP32,
    Bound,
    Ceiling,
    Ceilings,
    ModuleRoof,
    ModuleTime,
    OperatorPass,
    Probe,
    Roofline,
    Work,
    WorkTime,
)

LARGE_BYTES = 32_000_000
"""More than most caches hold, of one core or of a share in a server's."""

BOUNDS: tuple[Bound, ...] = ("compute", "memory", "overhead")

CHAIN, MIXED = "chain", "mixed chain"
ATTENTION = ("Attention", "MultiHeadAttention", "GroupQueryAttention")


def ceilings(probe: Probe) -> Ceilings:
    """The ceilings of a device.

    Raises:
        RunError: the probe has no product, no large tensor or no chain of nodes: it failed there.
    """
    products: dict[str, list[WorkTime]] = {}
    for time in probe.times:
        if "inner" in time.work.sizes and time.best_s:
            products.setdefault(time.work.precision, []).append(time)
    vectors = {
        precision: [time for time in times if time.work.sizes["rows"] == 1 and 4 * time.work.macs >= LARGE_BYTES]
        for precision, times in products.items()
    }
    return Ceilings(
        products={precision: _highest(times, macs) for precision, times in products.items()},
        attention=next(iter(_some((time for time in probe.times if time.work.operator in ATTENTION), macs)), None),
        memory=_highest(
            [time for time in probe.times if moved_bytes(time.work) >= LARGE_BYTES * time.work.nodes], moved_bytes
        ),
        vectors={precision: _highest(times, macs) for precision, times in vectors.items() if times},
        node=_line(probe.times, 1),
        run=_line(probe.times, 0),
    )


def rooflines(passes: Iterable[OperatorPass], found: Ceilings) -> list[Roofline]:
    """Every point whose modules are known, against the ceilings."""
    return [roofline(each, median(reading.latencies_s), found) for each, reading in successful(passes) if each.modules]


def roofline(profiled: OperatorPass, latency_s: float, found: Ceilings) -> Roofline:
    """A point against the ceilings.

    The least time of a module is the longest of three: its MACs at the peak of its precision, its bytes at the
    bandwidth of memory, its nodes at what each costs. That of the point is their sum and what a run costs.
    """
    roofs = [_roof(module, found) for module in profiled.modules]
    least_s = dict.fromkeys(BOUNDS, 0.0) | {"overhead": found.run.value}
    for roof in roofs:
        least_s[roof.bound] += roof.least_s
    return Roofline(
        key=profiled.key,
        bound=max(BOUNDS, key=lambda bound: least_s[bound]),
        share=sum(least_s.values()) / latency_s,
        modules=tuple(roofs),
    )


def _roof(module: ModuleTime, found: Ceilings) -> ModuleRoof:
    limits: dict[Bound, float] = {
        "compute": module.macs / peak(module.precision, found),
        "memory": module.moved_bytes / found.memory.value,
        "overhead": module.nodes * found.node.value,
    }
    bound = max(BOUNDS, key=lambda each: limits[each])
    share = limits[bound] / module.time_s if module.time_s else 0.0
    return ModuleRoof(module=module, bound=bound, least_s=limits[bound], share=share)


def peak(precision: str, found: Ceilings) -> float:
    """MAC/s of products in a precision; of one that was not probed, of fp32."""
    return (found.products.get(precision) or found.products[FP32]).value


def sentence(one: Roofline) -> str:
    """What a point reaches, and which module is farthest from what it could."""
    reached = f"{one.key.label}: {one.bound}-bound, at {units.percent(min(one.share, 1.0))} of its ceilings"
    wasted = max(one.modules, key=lambda roof: roof.module.time_s - roof.least_s)
    whole_s = sum(roof.module.time_s for roof in one.modules)
    if not whole_s or one.share >= 1:
        return f"{reached}."
    part = units.percent(wasted.module.time_s / whole_s)
    return (
        f"{reached}. Most is to be gained in {wasted.module.module}: {part} of the time, {wasted.bound}-bound, "
        f"at {units.percent(min(wasted.share, 1.0))} of its ceiling."
    )


def macs(work: Work) -> int:
    return work.macs


def moved_bytes(work: Work) -> int:
    """Weights, and tensors that are read and written."""
    return work.weights_bytes + work.activation_bytes


def rate(time: WorkTime, amount: Callable[[Work], int] = macs) -> Ceiling:
    """An amount of work per second: at the best level of all visits, with the interval of the levels."""
    done, best = amount(time.work), min(time.best_s)
    interval = _interval(time.best_s)
    return Ceiling(
        value=done / best, low=done / max(interval.high, best), high=done / min(interval.low, best), work=time.work
    )


def _highest(times: Iterable[WorkTime], amount: Callable[[Work], int]) -> Ceiling:
    found = _some(times, amount)
    if not found:
        raise RunError("This probe lacks the work that a ceiling is read from.", "Run: edgeprof probe --force")
    return found[0]


def _some(times: Iterable[WorkTime], amount: Callable[[Work], int]) -> list[Ceiling]:
    """The highest rate, or nothing."""
    rates = [rate(time, amount) for time in times if time.best_s]
    return [max(rates, key=lambda one: one.value)] if rates else []


def _interval(levels: Sequence[float]) -> Interval:
    return interval_between_rounds(levels) if len(levels) > 1 else Interval(levels[0], levels[0])


def _line(times: Iterable[WorkTime], degree: int) -> Ceiling:
    """A coefficient of time = run + node x nodes over chains of small nodes: in the middle of the visits' own lines.

    Raises:
        RunError: there are no two chains.
    """
    chains = [time for time in times if time.work.operator == CHAIN and time.best_s]
    visits = min((len(time.best_s) for time in chains), default=0)
    if len(chains) < 2:
        raise RunError("This probe lacks chains of nodes.", "Run: edgeprof probe --force")
    points = [[(time.work.nodes, time.best_s[visit]) for time in chains] for visit in range(visits)]
    found = sorted(max(fitted_line(each)[degree], 1e-12) for each in points)
    interval = _interval(found)
    return Ceiling(value=found[0], low=min(interval.low, found[0]), high=max(interval.high, found[0]))


def fitted_line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Intercept and slope of a line whose relative residuals are least: a short chain says what a run takes."""
    import numpy as np

    nodes, seconds = (np.array(values, float) for values in zip(*points, strict=True))
    slope, intercept = np.polyfit(nodes, seconds, 1, w=1 / seconds)
    return float(intercept), float(slope)
