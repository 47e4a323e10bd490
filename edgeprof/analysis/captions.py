"""Findings as text: the headlines of a report and the caption of every figure.

Every sentence is computed from the points. A conclusion that the data do not support is reported as "not shown" or
left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edgeprof.analysis import explain_captions, findings, placement
from edgeprof.analysis.narrative import PhasePoints, comparison, devices, length, memory, size, trust
from edgeprof.schema import Findings, Ledger, Phase, Point


def sentences(
    points: Sequence[Point],
    mixers: Mapping[str, Sequence[Ledger]] | None = None,
    placed: Sequence[Point] = (),
) -> Findings:
    """Headlines, captions and reference points of one run; quantities without data have no sentence.

    Args:
        mixers: ledgers over token lengths, drawn beside the points.
        placed: the points with a recorded placement, which ran on a provider other than the CPU.
    """
    phases: tuple[Phase, ...] = ("prefill", "decode")
    every = {phase: scope for phase in phases if (scope := PhasePoints.of(points, phase)).points}
    ours = findings.without_baselines(points)
    by_phase = {phase: scope for phase in every if (scope := PhasePoints.of(ours, phase)).points}
    headlines = (
        _headline(write, (every if write is comparison.providers else by_phase)[phase])
        for choice, write in HEADLINES
        if (phase := _first(choice, by_phase))
    )
    captions = {name: write(by_phase[phase]) for name, phase, write in CAPTIONS if phase in by_phase}
    captions["mixers"] = explain_captions.mixer_caption(mixers or {})
    captions["placement"] = placement.caption(placed)
    return Findings(
        headlines=(*placement.headlines(points), *filter(None, headlines)),
        trust=trust.trust(points),
        captions={name: text for name, text in captions.items() if text},
        reference=tuple(point for scope in every.values() for point in findings.reference_points(scope.points)),
    )


def _headline(write: Callable[[PhasePoints], str], scope: PhasePoints) -> str:
    """A headline; one about times says if they rest on points that are not steady."""
    text = write(scope)
    return f"{text.removesuffix('.')}{trust.caveat(scope.points)}." if text and write not in OF_MEMORY else text


def _first(choice: Iterable[Phase], by_phase: dict[Phase, PhasePoints]) -> Phase | None:
    return next((phase for phase in choice if phase in by_phase), None)


# --- the tables ----------------------------------------------------------------------------------------

# Each headline describes the first of its phases that has data.
HEADLINES: tuple[tuple[tuple[Phase, ...], Callable[[PhasePoints], str]], ...] = (
    (("prefill",), length.prefill_growth),
    (("prefill", "decode"), size.latency_law),
    (("decode",), length.decode_growth),
    (("prefill",), devices.devices),
    (("decode",), devices.devices),
    (("prefill",), comparison.precisions),
    (("decode",), comparison.precisions),
    (("prefill",), comparison.providers),
    (("decode",), comparison.providers),
    (("prefill", "decode"), memory.largest_peak),
    (("prefill", "decode"), memory.predicted_peaks),
    (("prefill", "decode"), length.predicted_latencies),
)

OF_MEMORY = (memory.largest_peak, memory.predicted_peaks)

CAPTIONS: tuple[tuple[str, Phase, Callable[[PhasePoints], str]], ...] = (
    ("prefill-latency", "prefill", length.prefill_latency),
    ("prefill-time-per-token", "prefill", length.time_per_token),
    ("prefill-throughput", "prefill", length.throughput),
    ("prefill-memory", "prefill", memory.memory),
    ("prefill-memory-predicted", "prefill", memory.predicted),
    ("prefill-latency-by-device", "prefill", devices.devices),
    ("prefill-latency-by-size", "prefill", size.latency_over_params),
    ("prefill-memory-by-size", "prefill", size.memory_over_params),
    ("decode-latency", "decode", length.decode_latency),
    ("decode-throughput", "decode", length.throughput),
    ("decode-memory", "decode", memory.memory),
    ("decode-memory-predicted", "decode", memory.predicted),
    ("decode-latency-by-device", "decode", devices.devices),
    ("decode-latency-by-size", "decode", size.latency_over_params),
    ("decode-memory-by-size", "decode", size.memory_over_params),
)
