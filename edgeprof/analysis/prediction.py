"""The latency of a model on a device, from a count of its graph and a probe of the device.

Of the graph that onnxruntime makes of the file, with all that it fuses, each node i takes

    t_i = node + a_i c(operator, sizes) + b_i s(precision, rows) f

node   what each node takes besides its work: the slope of a line through products with none, two and four small nodes
       of other operators after each. In a chain of equal nodes, as of most works of the probe, it is less.
a_i    its work: MACs of products, attention and convolutions, bytes read and written of all others.
c      seconds for each unit of work: what the probe took beyond runs and nodes, over the work. Between the sizes of the
       probe its logarithm is interpolated linearly in the logarithms of the sizes, one size after the other: inner,
       columns, rows of a product; head size, heads, keys of attention; columns, bytes of norms; bytes of others.
       Beyond the probe it stays what it was at its edge; with fewer bytes than that, the time does.
b_i s  weights b_i come from further away in every run, where all weights W together do not fit a cache. s is what each
       byte adds at most: a chain of wide matrices that together are larger than caches against the shortest such chain.
       With many rows it hides behind the products. A KV cache is read in the same way.
f      the share of s that shows: f(W) - f(b_i), as the probe's own matrix of that size (at most its largest that stays
       in a cache) had left the nearest caches too; all for the longest chain, less for shorter ones.

The latency is their sum and what a run takes besides its nodes. Activations are taken from caches: what one node wrote
is still there when the next one reads it. Predicting kernels by interpolation over measured shapes and adding them up
follows nn-Meter (Zhang et al. 2021, "nn-Meter: towards accurate latency prediction of deep-learning model inference on
diverse edge devices"); the terms are those of the roofline (`edgeprof.analysis.roofline`), with what was measured in
place of peaks.

The best level is computed from the best level of each work in the probe, what is usual from the median of its visits.
The interval is the error measured on points that had no part in these rules (`ERRORS`); time that is not read between
measured sizes may besides be DOUBT times longer or shorter.

On paper, with a peak and a bandwidth in place of a probe, it is the roofline itself (Williams, Waterman and Patterson
2009): t_i = node + max(a_i / peak, bytes / bandwidth), bytes being weights, and activations larger than the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from msgspec.structs import replace

from edgeprof.analysis.operator_classes import INTEGER
from edgeprof.analysis.probed_times import ProbedTimes, Rate, best, row_sizes, usual
from edgeprof.counting import NodeWork
from edgeprof.errors import UsageError
from edgeprof.schema import FP32, Guess, Inferred, PaperDevice, PredictedLatency, Probe
from edgeprof.text import joined

DOUBT = 2.0

UNSAYABLE = 0.05
"""Of the work: with more in operators whose time is not known, nothing is predicted."""

STAND_INS = {
    **dict.fromkeys(("RMSNormalization", "GatedRMSNorm"), "SimplifiedLayerNormalization"),
    **dict.fromkeys(("EmbedLayerNormalization", "SkipGroupNorm"), "SkipLayerNormalization"),
    **dict.fromkeys(("BiasGelu", "BiasSplitGelu", "Erf"), "Gelu"),
    **dict.fromkeys(("Swish", "SwiGLU", "HardSwish", "Mish", "Elu"), "QuickGelu"),
    **dict.fromkeys(("Exp", "Log", "Pow", "Sin", "Cos", "Sqrt", "Softplus"), "Tanh"),
    **dict.fromkeys(("LogSoftmax", "BiasSoftmax"), "Softmax"),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), "DynamicQuantizeLinear"),
    **dict.fromkeys(("PackedAttention", "SparseAttention", "DecoderMaskedMultiHeadAttention"), "MultiHeadAttention"),
    **dict.fromkeys(("GatherBlockQuantized", "GatherND", "GatherElements"), "Gather"),
    "QAttention": "Attention",
}
"""An operator of the probe that does much the same."""

OF_KIND = {"norm": "LayerNormalization", "elementwise": "Add", "lookup": "Gather", "movement": "Concat"}
"""What stands in for all others of a kind (`counting.NodeWork`)."""

CUBIC = 16
"""Values that each result of a cubic interpolation over an area is made of; with fewer, they are rather moved."""

QUANTIZING = "DynamicQuantizeMatMul"
"""The product in int8 of the probe, which makes its activations integers first; others have a node for that."""

LEAST_OF_PRODUCT = 0.5

ERRORS: dict[tuple[str, str], float] = {
    ("fp32", "prefill"): 0.44,
    ("fp32", "decode"): 0.23,
    ("int8", "prefill"): 0.24,
    ("int8", "decode"): 0.34,
    ("int4", "prefill"): 0.18,
    ("int4", "decode"): 0.41,
}
"""By precision and phase, what the error of the best level stays within at 95 % of points, as a factor beyond 1: of the
families that shaped the rules or of those held out, whichever is larger (`tests/benchmarks/prediction_error.py`; AMD
EPYC, one and two threads, onnxruntime 1.32 and 1.24, 2026-11-27; 8 to 22 points each)."""

UNTESTED = 0.5
"""A guess for what was not held out."""

MEMORY_ERROR = 0.10
"""Above the largest error of predicted peaks (`tests/benchmarks/ledger_error.py`), as a share of them."""


class Taken(NamedTuple):
    """Seconds of a node, and why they are inferred; None where they are read between measured sizes."""

    seconds: float
    why: Guess | None = None


def predicted_latency(works: Sequence[NodeWork], probe: Probe, *, precision: str, phase: str) -> PredictedLatency:
    """The latency of a graph on a device.

    Args:
        works: the nodes of the graph that onnxruntime makes of the file (`counting.by_node`).
        precision, phase: of the point, whose error is known.

    Raises:
        UsageError: the probe has no products in a precision of the graph; too much of the work is in operators whose
            time is not known.
        RunError: the probe failed in what everything rests on.
    """
    fast = _Prediction(works, ProbedTimes(probe, best))
    fast.require_known()
    best_s, usual_s = fast.total_s, _Prediction(works, ProbedTimes(probe, usual)).total_s
    inferred = fast.inferred()
    doubted = sum(one.share for one in inferred)
    error = 1 + ERRORS.get((precision, phase), UNTESTED)
    return PredictedLatency(
        best_s=best_s,
        low_s=best_s / error * (1 - doubted * (1 - 1 / DOUBT)),
        high_s=best_s * error * (1 + doubted * (DOUBT - 1)),
        assumed=(precision, phase) not in ERRORS,
        usual_s=max(usual_s, best_s),
        run_s=fast.times.run_s,
        operators=fast.operators(),
        inferred=inferred,
    )


class _Prediction:
    """All nodes of a graph at one level of a probe."""

    def __init__(self, works: Sequence[NodeWork], times: ProbedTimes) -> None:
        self.works, self.times = works, times
        self.total_bytes = sum(work.weights_bytes + _cache_bytes(work) for work in works)
        self.unknown: list[NodeWork] = []
        self.taken = [self._node(work) for work in works]

    @property
    def total_s(self) -> float:
        return self.times.run_s + sum(taken.seconds for taken in self.taken)

    def operators(self) -> dict[str, float]:
        return _by_operator(self.works, [taken.seconds for taken in self.taken])

    def inferred(self) -> tuple[Inferred, ...]:
        """What is not read between measured sizes, the largest share first."""
        found: dict[tuple[str, Guess], list[float]] = {}
        for work, taken in zip(self.works, self.taken, strict=True):
            if taken.why:
                found.setdefault((work.operator, taken.why), []).append(taken.seconds)
        listed = [
            Inferred(operator=operator, nodes=len(seconds), share=sum(seconds) / self.total_s, why=why)
            for (operator, why), seconds in found.items()
        ]
        return tuple(sorted(listed, key=lambda one: -one.share))

    def require_known(self) -> None:
        """Refuse what the probe cannot say.

        Raises:
            UsageError: as `predicted_latency`.
        """
        multiplied = dict.fromkeys(work.precision for work in self.works if _is_weighted(work))
        missing = [precision for precision in multiplied if precision not in self.times.products]
        if missing:
            known = list(self.times.products)
            raise UsageError(
                f"The graph multiplies in {joined(missing)}; the probe has products in {joined(known)}.",
                "Choose another --precision, or measure on the device: edgeprof profile",
            )
        macs, moved = (max(sum(map(amount, self.works)), 1) for amount in (_macs, _moved))
        share = sum(max(_macs(work) / macs, _moved(work) / moved) for work in self.unknown)
        if share > UNSAYABLE or any(not work.sizes for work in self.unknown):
            names = sorted({work.operator for work in self.unknown})
            raise UsageError(
                f"The graph has work in {joined(names)} whose time no probe tells.",
                "Measure it on the device: edgeprof profile",
            )

    # --- one node ---

    def _node(self, work: NodeWork) -> Taken:
        taken = self._work(work)
        return Taken(work.times * self.times.mixed_node_s + taken.seconds, taken.why)

    def _work(self, work: NodeWork) -> Taken:
        """Seconds beyond what a node takes."""
        if work.kind == "view":
            return Taken(0.0)
        if work.kind == "attention" and work.sizes:
            return self._attention(work)
        if work.kind in ("product", "convolution") and work.sizes:
            return self._product(work)
        if work.sizes.get("taps") == CUBIC and self.times.resizing:
            sizes = work.sizes["rows"] * work.sizes["columns"]
            return _taken(self.times.resizing.at(sizes), work.times * CUBIC * sizes)
        names = (work.operator, STAND_INS.get(work.operator, ""), OF_KIND.get(work.kind, ""))
        name = next((name for name in names if name in self.times.others), "")
        if not name and (work.activation_bytes or work.macs or work.kind == "unknown"):
            self.unknown.append(work)
        return self._moving(work, name or OF_KIND["movement"])

    def _moving(self, work: NodeWork, name: str) -> Taken:
        curve = self.times.others.get(name)
        if not curve or not work.activation_bytes:
            return Taken(0.0)
        sizes = {"columns": 1, **work.sizes, "bytes": work.activation_bytes // work.times}
        amount = work.times * max(sizes["bytes"], curve.least)
        return _taken(curve.at(*row_sizes(name)(sizes)), amount, stands_in=name != work.operator)

    def _product(self, work: NodeWork) -> Taken:
        sizes = work.sizes
        if "matrices" in sizes and self.times.activation_products:
            axes = [sizes[name] for name in ("rows", "inner", "columns", "matrices")]
            return _taken(self.times.activation_products.at(*axes), work.macs)
        curve = self.times.products.get(work.precision)
        if not curve:  # refused in the end
            return Taken(0.0)
        axes = [sizes[name] for name in ("inner", "columns", "rows")]
        convolution = work.kind == "convolution"
        if convolution and self.times.convolutions:
            return _taken(self.times.convolutions.at(*axes), work.macs)
        seconds, why = _taken(curve.at(*axes), work.macs, stands_in=convolution)
        if work.operator in INTEGER and work.operator != QUANTIZING:
            seconds = max(seconds - self._quantizing_s(sizes["rows"], sizes["inner"]), LEAST_OF_PRODUCT * seconds)
        streamed_s = self.times.streamed_s(work.precision, sizes["rows"], work.weights_bytes, self.total_bytes)
        return Taken(seconds + streamed_s, why)

    def _quantizing_s(self, rows: int, columns: int) -> float:
        """Seconds to make activations integers."""
        curve, nbytes = self.times.others.get("DynamicQuantizeLinear"), 5 * rows * columns
        return nbytes * curve.at(nbytes).seconds if curve else 0.0

    def _attention(self, work: NodeWork) -> Taken:
        """Attention, and the projections of an operator that holds their weights."""
        sizes, macs, projected = work.sizes, work.macs, Taken(0.0)
        if "inner" in sizes:
            projection = _projection(work)
            projected, macs = self._product(projection), macs - projection.macs
        single = sizes["tokens"] == 1
        keys = sizes["keys"] if single else (sizes["tokens"] * sizes["keys"]) ** 0.5
        curves = {name: curve for name, curve in self.times.attention(single=single).items() if curve}
        name = work.operator if work.operator in curves else STAND_INS.get(work.operator, "")
        curve = curves.get(name) or next(iter(curves.values()), None)
        if curve is None:
            self.unknown.append(work)
            return projected
        rate = curve.at(sizes["head_size"], sizes["heads"], keys)
        seconds, why = _taken(rate, macs, stands_in=name != work.operator)
        cached_s = self.times.streamed_s(FP32, 1, _cache_bytes(work), self.total_bytes)
        return Taken(seconds + projected.seconds + cached_s, why or projected.why)


def _taken(rate: Rate, amount: float, *, stands_in: bool = False) -> Taken:
    why: Guess | None = "another operator stands in" if stands_in else "size beyond the probe" if rate.beyond else None
    return Taken(amount * rate.seconds, why)


def _projection(work: NodeWork) -> NodeWork:
    """The product by the weights that an attention holds."""
    sizes = {name: work.sizes[name] for name in ("rows", "inner", "columns")}
    return replace(work, kind="product", operator=QUANTIZING, sizes=sizes, macs=prod(sizes.values()))


def _cache_bytes(work: NodeWork) -> int:
    """Bytes of a KV cache that an attention reads: keys and values of earlier tokens, at most one for each head."""
    sizes = work.sizes
    if work.kind != "attention" or not sizes or sizes["keys"] <= sizes["tokens"]:
        return 0
    return min(2 * 4 * sizes["keys"] * sizes["heads"] * sizes["head_size"], work.activation_bytes)


def _is_weighted(work: NodeWork) -> bool:
    return work.kind in ("product", "convolution") and "matrices" not in work.sizes and bool(work.sizes)


def _macs(work: NodeWork) -> int:
    return work.macs


def _moved(work: NodeWork) -> int:
    return work.weights_bytes + work.activation_bytes


def _by_operator(works: Sequence[NodeWork], seconds: Sequence[float]) -> dict[str, float]:
    """The sum over all nodes of an operator, the longest first."""
    sums: dict[str, float] = {}
    for work, each in zip(works, seconds, strict=True):
        sums[work.operator] = sums.get(work.operator, 0.0) + each
    return dict(sorted(sums.items(), key=lambda one: -one[1]))


# --- on paper --------------------------------------------------------------------------------------------------


def paper_latency(works: Sequence[NodeWork], device: PaperDevice) -> PredictedLatency:
    """The least time that a description of a device allows: it has no interval, as its error is not known.

    Raises:
        UsageError: the description has no peak for a precision of the graph.
    """
    multiplied = dict.fromkeys(work.precision for work in works if work.macs)
    missing = [precision for precision in multiplied if precision not in device.gflops]
    if missing:
        raise UsageError(
            f"{device.name} is described in {joined([*device.gflops])}, and the graph multiplies in {joined(missing)}.",
            f"Add it to [gflops]: {missing[0]} = ..., or choose another --precision.",
        )
    seconds = [_on_paper(work, device) for work in works]
    run_s = device.run_us / 1e6
    return PredictedLatency(best_s=run_s + sum(seconds), run_s=run_s, operators=_by_operator(works, seconds))


def _on_paper(work: NodeWork, device: PaperDevice) -> float:
    beyond = work.activation_bytes if work.activation_bytes > device.cache_mb * 1e6 else 0
    computing = 2 * work.macs / (device.gflops[work.precision] * 1e9) if work.macs else 0.0
    moving = (work.weights_bytes + beyond) / (device.gb_per_s * 1e9)
    return work.times * device.node_us / 1e6 + (max(computing, moving) if work.kind != "view" else 0.0)
