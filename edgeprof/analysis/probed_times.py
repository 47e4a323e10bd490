"""The times of a probe as curves: seconds for a unit of work over sizes, with what a node and a run take apart.

How they make up the time of a model is told in `edgeprof.analysis.prediction`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from edgeprof.analysis.roofline import ATTENTION, CHAIN, LARGE_BYTES, MIXED, fitted_line, moved_bytes
from edgeprof.errors import RunError
from edgeprof.schema import FP32, Probe, Work, WorkTime

FAR = 2.0
"""A size beyond those of the probe by more than this factor counts as extrapolated."""

ROUNDING = 1e-9

LEAST = 1e-16
"""Seconds for a unit of work, where the probe saw none: less than any processor takes."""

Level = Callable[[WorkTime], float]
Point = tuple[tuple[float, ...], float]


def best(time: WorkTime) -> float:
    """The best level of the visits, its first quartile: a short piece of work meets a lucky moment more easily than the
    nodes of a model do, all of them in one run."""
    return sorted(time.best_s)[len(time.best_s) // 4]


def usual(time: WorkTime) -> float:
    """The median of the visits."""
    return statistics.median(time.medians_s)


class Rate(NamedTuple):
    """Seconds for a unit of work, and whether that lies beyond the measured sizes."""

    seconds: float
    beyond: bool = False


class Curve:
    """Seconds for a unit of work over sizes."""

    def __init__(self, points: Iterable[Point]) -> None:
        self.points = [(tuple(map(_log, sizes)), math.log(max(value, LEAST))) for sizes, value in points]
        self.least = min((math.exp(at[-1]) for at, _ in self.points), default=0.0)  # of the last size

    def __bool__(self) -> bool:
        return bool(self.points)

    def at(self, *sizes: float) -> Rate:
        """Interpolate; constant beyond the edges.

        >>> curve = Curve([((1,), 8.0), ((16,), 2.0)])
        >>> round(curve.at(4).seconds, 6), round(curve.at(64).seconds, 6), curve.at(64).beyond
        (4.0, 2.0, True)
        """
        logs = tuple(map(_log, sizes))
        edges = [(min(axis), max(axis)) for axis in zip(*(at for at, _ in self.points), strict=True)]
        outside = [max(low - one, one - high) for (low, high), one in zip(edges, logs, strict=True)]
        return Rate(math.exp(_interpolated(self.points, logs)), max(outside) > math.log(FAR) + ROUNDING)


def _log(size: float) -> float:
    return math.log(max(size, 1))


def _interpolated(points: Sequence[Point], sizes: tuple[float, ...]) -> float:
    """The value at some sizes: along the first one between its neighbours, each the value at the other sizes."""
    if not sizes:
        return statistics.fmean(value for _, value in points)
    known = sorted({at[0] for at, _ in points})
    low = max((one for one in known if one <= sizes[0]), default=known[0])
    high = min((one for one in known if one >= sizes[0]), default=known[-1])
    ends = [_interpolated([(at[1:], value) for at, value in points if at[0] == one], sizes[1:]) for one in (low, high)]
    share = (sizes[0] - low) / (high - low) if high > low else 0.0
    return ends[0] + share * (ends[1] - ends[0])


class ProbedTimes:
    """The times of a probe, at one level of its visits.

    Raises:
        RunError: the probe failed in the chains of nodes, or in all products.
    """

    def __init__(self, probe: Probe, level: Level) -> None:
        self.level = level
        self.times = [time for time in probe.times if time.best_s]
        chains = [(time.work.nodes, level(time)) for time in self.times if time.work.operator == CHAIN]
        if len({nodes for nodes, _ in chains}) < 2:
            raise RunError("This probe lacks chains of nodes.", "Run: edgeprof probe --force")
        self.run_s, self.node_s = (max(value, 0.0) for value in fitted_line(chains))
        mixed = [(time.work.nodes, level(time)) for time in self.times if time.work.operator == MIXED]
        self.mixed_node_s = max(self.node_s, fitted_line(mixed)[1] if len(mixed) > 1 else 0.0)
        self.products = {
            precision: self._curve(partial(_is_cached, precision), _product_sizes, _macs)
            for precision in dict.fromkeys(time.work.precision for time in self.times if _is_product(time.work))
        }
        self.activation_products = self._curve(
            lambda work: "matrices" in work.sizes,
            lambda sizes: tuple(sizes[name] for name in ("rows", "inner", "columns", "matrices")),
            _macs,
        )
        self.convolutions = self._curve(partial(_is_operator, "Conv"), _product_sizes, _macs)
        self.resizing = self._curve(partial(_is_operator, "Resize"), _results, _macs)
        self._prompts = {name: self._attention(name, with_past=False) for name in ATTENTION}
        self._steps = {name: self._attention(name, with_past=True) for name in ATTENTION}
        self.others = {
            name: self._curve(partial(_is_operator, name), row_sizes(name), _moved)
            for name in dict.fromkeys(time.work.operator for time in self.times)
            if name not in (CHAIN, MIXED, "Resize", *ATTENTION)
        }
        self.streaming, self.residency = self._streamed()
        cached = [time.work.weights_bytes for time in self.times if _is_cached(time.work.precision, time.work)]
        self.largest_cached = max(cached, default=0)

    def streamed_s(self, precision: str, rows: int, weights_bytes: int, total_bytes: int) -> float:
        """Seconds that weights add to a product because they come from memory again in every run."""
        curve = self.streaming.get(precision) or self.streaming.get(FP32)
        if not curve or not weights_bytes:
            return 0.0
        probed = min(weights_bytes, self.largest_cached)  # a large matrix left the nearest caches in the probe too
        shown = self._shown(total_bytes) - self._shown(probed)
        return weights_bytes * curve.at(rows).seconds * max(shown, 0.0)

    def _shown(self, total_bytes: int) -> float:
        """The share of what memory adds that shows with so many bytes of weights: few bytes stay in caches."""
        import numpy as np

        known = sorted(self.residency.items())
        logs = [math.log(nbytes) for nbytes, _ in known]
        return float(np.interp(_log(total_bytes), logs, [share for _, share in known]))

    def attention(self, *, single: bool) -> dict[str, Curve]:
        """Seconds for each MAC of attention by operator: of a single token to a cache, or of many to themselves."""
        return self._steps if single else self._prompts

    # --- curves ---

    def _curve(
        self,
        chosen: Callable[[Work], bool],
        sizes: Callable[[dict[str, int]], tuple[float, ...]],
        amount: Callable[[Work], int],
    ) -> Curve:
        times = [time for time in self.times if chosen(time.work) and amount(time.work)]
        return Curve((sizes(_sizes(time.work)), self._beyond_overhead(time) / amount(time.work)) for time in times)

    def _beyond_overhead(self, time: WorkTime) -> float:
        """Seconds of some work, less what a run and its nodes take."""
        return max(self.level(time) - self.run_s - time.work.nodes * self.node_s, 0.0)

    def _attention(self, operator: str, *, with_past: bool) -> Curve:
        def chosen(work: Work) -> bool:
            return work.operator == operator and (work.sizes["past_tokens"] > 0) is with_past

        return self._curve(chosen, lambda sizes: tuple(sizes[name] for name in ("head_size", "heads", "keys")), _macs)

    def _streamed(self) -> tuple[dict[str, Curve], dict[int, float]]:
        """Seconds that each byte of weights adds, over rows, by precision; and the share of it that shows, by the bytes
        of all weights. The one is that of the widest matrices, as those of models are, the other that of the width
        with the most lengths."""
        points: dict[str, list[Point]] = {}
        most_s: dict[str, float] = {}
        chains = self._added()
        for (precision, rows), widths in sorted(chains.items()):
            added = widths[max(widths)]
            most = added[max(added)]
            most_s[precision] = min(most, most_s.get(precision, math.inf))  # more rows hide more of it, never less
            points.setdefault(precision, []).append(((float(rows),), most_s[precision]))
        steps = max((added for widths in chains.values() for added in widths.values()), key=len, default={1: 1.0})
        most = max(steps[max(steps)], LEAST)
        shares = {nbytes: min(value / most, 1.0) for nbytes, value in steps.items()}
        return {precision: Curve(each) for precision, each in points.items()}, shares

    def _added(self) -> dict[tuple[str, int], dict[int, dict[int, float]]]:
        """By precision and rows, and by width: what each byte takes in chains of matrices, by the bytes of a chain,
        less the least of them."""
        square = [time for time in self.times if _is_product(time.work) and _width(time.work)]
        chained = {(time.work.precision, _width(time.work)) for time in square if time.work.nodes > 1}
        each_s: dict[tuple[str, int], dict[int, dict[int, float]]] = {}
        for time in square:
            work, width = time.work, _width(time.work)
            if (work.precision, width) in chained:
                widths = each_s.setdefault((work.precision, work.sizes["rows"]), {})
                widths.setdefault(width, {})[work.weights_bytes] = self._beyond_overhead(time) / work.weights_bytes
        added: dict[tuple[str, int], dict[int, dict[int, float]]] = {}
        for key, widths in each_s.items():
            for width, by_bytes in widths.items():
                if len(by_bytes) > 1:
                    least = min(by_bytes.values())
                    each = {nbytes: value - least for nbytes, value in sorted(by_bytes.items())}
                    added.setdefault(key, {})[width] = each
        return added


def _macs(work: Work) -> int:
    return work.macs


def _moved(work: Work) -> int:
    return work.activation_bytes


def _is_product(work: Work) -> bool:
    """Whether it multiplies by constant weights."""
    return "inner" in work.sizes and work.operator != "Conv" and "matrices" not in work.sizes


def _width(work: Work) -> int:
    """Of a square matrix; 0 of another one."""
    return work.sizes["columns"] if work.sizes["inner"] == work.sizes["columns"] else 0


def _is_operator(name: str, work: Work) -> bool:
    return work.operator == name


def _is_cached(precision: str, work: Work) -> bool:
    """Whether it is one product whose weights stay in caches."""
    return _is_product(work) and (work.precision, work.nodes) == (precision, 1) and moved_bytes(work) < LARGE_BYTES


def _sizes(work: Work) -> dict[str, int]:
    """The sizes of some work, under the names that those of a node have."""
    sizes = dict(work.sizes)
    if "past_tokens" in sizes:
        sizes["keys"] = sizes["tokens"] + sizes["past_tokens"]
    if "elements" in sizes:
        sizes |= {"rows": 1, "columns": sizes["elements"]}
    return {**sizes, "bytes": work.activation_bytes // work.nodes}


def _results(sizes: dict[str, int]) -> tuple[float]:
    return (sizes["rows"] * sizes["columns"],)


def _product_sizes(sizes: dict[str, int]) -> tuple[float, ...]:
    return sizes["inner"], sizes["columns"], sizes["rows"]


BY_ROW = ("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "Softmax")
"""Operators that reduce rows, so that their length matters too."""


def row_sizes(operator: str) -> Callable[[dict[str, int]], tuple[float, ...]]:
    """What the time of an operator that multiplies nothing depends on."""
    if operator in BY_ROW:
        return lambda sizes: (sizes["columns"], sizes["bytes"])
    return lambda sizes: (sizes["bytes"],)
