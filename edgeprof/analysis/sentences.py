"""Findings in words: the headlines of a report, and the caption of every figure.

Each sentence is computed. What the data do not show is said to be not shown, or nothing is said.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edgeprof.analysis import counted, findings, placements, told_lengths, told_memory, told_pairs, told_sizes
from edgeprof.analysis.told import Told
from edgeprof.schema import Findings, Ledger, Phase, PlacedPoint, Point


def sentences(
    points: Sequence[Point],
    mixers: Mapping[str, Sequence[Ledger]] | None = None,
    placed: Sequence[PlacedPoint] = (),
) -> Findings:
    """All there is to tell about the points of one run; what has no data has no sentence.

    Args:
        mixers: ledgers over token lengths that are drawn beside the points.
        placed: those of the points that ran on other providers than the CPU's, with where they did.
    """
    phases: tuple[Phase, ...] = ("prefill", "decode")
    told = {phase: about for phase in phases if (about := Told.of(points, phase)).points}
    headlines = (say(told[phase]) for one_of, say in HEADLINES if (phase := _first(one_of, told)))
    captions = {name: say(told[phase]) for name, phase, say in CAPTIONS if phase in told}
    captions["mixers"] = counted.mixed(mixers or {})
    captions["placement"] = placements.caption(placed)
    return Findings(
        headlines=(*placements.headlines(points), *filter(None, headlines)),
        captions={name: text for name, text in captions.items() if text},
        reference=tuple(point for about in told.values() for point in findings.reference_points(about.points)),
    )


def _first(one_of: Iterable[Phase], told: dict[Phase, Told]) -> Phase | None:
    return next((phase for phase in one_of if phase in told), None)


# --- the tables ----------------------------------------------------------------------------------------

# Each speaks of the first of its phases that has data.
HEADLINES: tuple[tuple[tuple[Phase, ...], Callable[[Told], str]], ...] = (
    (("prefill",), told_lengths.prefill_growth),
    (("prefill", "decode"), told_sizes.latency_law),
    (("decode",), told_lengths.decode_growth),
    (("prefill",), told_pairs.precisions),
    (("decode",), told_pairs.precisions),
    (("prefill",), told_pairs.providers),
    (("decode",), told_pairs.providers),
    (("prefill", "decode"), told_memory.largest_peak),
    (("prefill", "decode"), told_memory.predicted),
)

CAPTIONS: tuple[tuple[str, Phase, Callable[[Told], str]], ...] = (
    ("prefill-latency", "prefill", told_lengths.prefill_latency),
    ("prefill-time-per-token", "prefill", told_lengths.time_per_token),
    ("prefill-throughput", "prefill", told_lengths.throughput),
    ("prefill-memory", "prefill", told_memory.memory),
    ("prefill-memory-predicted", "prefill", told_memory.predicted),
    ("prefill-latency-by-size", "prefill", told_sizes.latency_over_params),
    ("prefill-memory-by-size", "prefill", told_sizes.memory_over_params),
    ("decode-latency", "decode", told_lengths.decode_latency),
    ("decode-throughput", "decode", told_lengths.throughput),
    ("decode-memory", "decode", told_memory.memory),
    ("decode-memory-predicted", "decode", told_memory.predicted),
    ("decode-latency-by-size", "decode", told_sizes.latency_over_params),
    ("decode-memory-by-size", "decode", told_sizes.memory_over_params),
)
