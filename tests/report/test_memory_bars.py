"""Memory by parts: a bar for each point, its predicted peak across it, and the sentence on all of them."""

import legible
import runs
from msgspec.structs import replace

from edgeprof.analysis.narrative import PhasePoints
from edgeprof.analysis.narrative.memory import predicted_peaks
from edgeprof.report import bars
from edgeprof.report.figures import MEMORY_PARTS
from edgeprof.report.memory_bars import arrange
from edgeprof.schema import MemorySummary, Point, PredictedMemory

MB = 1_000_000


def predicted(run_mb: int, load_mb: int) -> PredictedMemory:
    """All but 60 MB of it repacked weights."""
    nothing = dict.fromkeys(("session", "weights_mapped", "weights_copied", "cache", "activations", "arena"), 0)
    return PredictedMemory(
        runtime_bytes=60 * MB,
        weights_packed_bytes=(run_mb - 60) * MB,
        load_peak_bytes=load_mb * MB,
        **{f"{name}_bytes": value for name, value in nothing.items()},
    )


def points() -> list[Point]:
    """bert-base in fp32 at two lengths: 400 MB measured and 404 predicted, then 500 MB, reached at load, and 450."""
    known = [point for point in runs.analyzed()[0] if point.subject.model == "bert-base" and point.memory]
    short, long = [point for point in known if str(point.subject.precision) == "fp32"][:2]
    memory = MemorySummary(runtime_bytes=60 * MB, weights_bytes=300 * MB, working_bytes=40 * MB, peak_bytes=400 * MB)
    return [
        replace(short, memory=memory, facts=replace(short.facts, memory=predicted(404, 100))),
        replace(
            long,
            memory=replace(memory, peak_bytes=500 * MB),
            facts=replace(long.facts, memory=predicted(400, 450)),
        ),
    ]


def test_a_bar_has_the_measured_parts_and_a_line_at_the_predicted_peak() -> None:
    chart = arrange(MEMORY_PARTS, points())
    assert chart is not None
    (panel,) = chart.panels
    (short,), (long,) = (group.bars for group in panel.groups)
    assert (short.parts, short.line, short.top) == ((60, 300, 0, 40, 0), 404, "400")
    assert (long.parts, long.line, long.top) == ((60, 300, 0, 40, 100), 450, "500")
    legible.check(bars.draw(chart).canvas)


def test_without_a_prediction_there_is_no_chart() -> None:
    assert arrange(MEMORY_PARTS, runs.analyzed()[0]) is None


def test_the_sentence_has_the_median_and_the_largest_error() -> None:
    """+1 % and -10 %."""
    both = points()
    longest = both[1].load.length
    assert predicted_peaks(PhasePoints.of(both, "prefill")) == (
        "Predicted peaks in prefill are off by 5.5 %, the median of 2 points; "
        f"most at bert-base at {longest} tokens, by -10.0 %."
    )
