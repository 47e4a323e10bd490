"""What a report says and draws of two devices: the fixed record set, as two measured it, one three times slower."""

from itertools import chain

import legible
import pytest
import runs
from builders.records import changed
from legible import texts
from msgspec.structs import replace

from edgeprof.analysis import captions, growth, laws, statistics
from edgeprof.analysis.narrative import PhasePoints
from edgeprof.analysis.narrative.devices import devices
from edgeprof.report.drawing import draw
from edgeprof.report.figures import BY_DEVICE, FIGURES
from edgeprof.report.latency_figures import arrange
from edgeprof.schema import Measurement, Point

HOSTS = {"pi5": "pi5 (Cortex-A76)", "nuc": "nuc (N100)"}


def on(host: str, records: list[Measurement], times: float) -> list[Measurement]:
    """The records, as a device made them that takes so many times as long."""
    made = []
    for record in records:
        reading = record.outcome.reading
        if reading:
            slower = replace(reading, latencies_s=tuple(times * one for one in reading.latencies_s))
            record = changed(record, reading=slower)  # noqa: PLW2901
        made.append(changed(record, host=host, threads=4 if host == "pi5" else 2))
    return made


@pytest.fixture(scope="module")
def points() -> list[Point]:
    records = runs.generated()
    both = zip(on("pi5", records, 3.0), on("nuc", records, 1.0), strict=True)
    return statistics.points(chain.from_iterable(both))


def test_points_of_two_devices_are_never_one(points: list[Point]) -> None:
    alone = statistics.points(runs.generated())
    assert len(points) == 2 * len(alone)
    assert len(statistics.pooled(chain(on("pi5", runs.generated(), 3.0), on("nuc", runs.generated(), 1.0)))) == len(
        points
    )
    of_nuc = [point for point in points if point.place.host == "nuc"]
    assert [point.latency for point in of_nuc] == [point.latency for point in alone]


def test_devices_are_compared_where_they_measured_the_same_file(points: list[Point]) -> None:
    scope = PhasePoints.of(points, "prefill")
    text = devices(scope)
    assert text.startswith("pi5 takes 3x the time of nuc for the prefill of ")
    assert text.endswith("; about 3x over 54 points.")
    assert text.removesuffix(".") in " ".join(captions.sentences(points).headlines)
    other = [changed(point, digest="b" * 64) if point.place.host == "nuc" else point for point in points]
    assert devices(PhasePoints.of(other, "prefill")) == ""
    assert devices(PhasePoints.of([point for point in points if point.place.host == "nuc"], "prefill")) == ""


def test_a_sentence_that_compares_precisions_is_of_one_device(points: list[Point]) -> None:
    sentences = [text for text in captions.sentences(points).headlines if "in int8 against fp32" in text]
    assert sentences
    assert all("on pi5" in text and "on nuc" in text for text in sentences)


def test_laws_and_claims_do_not_mix_devices(points: list[Point]) -> None:
    fitted = laws.laws(points)
    assert {law.key.place.host for law in fitted.laws} == {"pi5", "nuc"}
    for crossover in fitted.crossovers:
        assert crossover.faster.place.host == crossover.slower.place.host
    of_models = growth.lines(points)
    assert all(len({point.place.host for line in of_models.values() for point in line}) == 1 for _ in of_models)


@pytest.mark.parametrize("figure", BY_DEVICE, ids=lambda figure: figure.name)
def test_devices_are_lines_of_one_panel_for_each_file(figure: object, points: list[Point]) -> None:
    found = replace(captions.sentences(points), hosts=HOSTS)
    chart = arrange(figure, points, found)  # type: ignore[arg-type]
    assert chart is not None
    for panel in chart.panels:
        assert sorted(line.label for line in panel.lines) == ["nuc (N100)", "pi5 (Cortex-A76)"]
        assert len({line.colour for line in panel.lines}) == 2
    titles = [panel.title for panel in chart.panels]
    assert len(set(titles)) == len(titles)
    drawing = draw(chart)
    assert {"pi5 (Cortex-A76)", "nuc (N100)"} <= set(texts(drawing.save("svg")))
    legible.check(drawing.canvas)


def test_other_figures_have_a_panel_for_each_device(points: list[Point]) -> None:
    found = captions.sentences(points)
    for figure in FIGURES:
        chart = arrange(figure, points, found)
        assert chart is not None
        titles = [panel.title for panel in chart.panels]
        assert sum("pi5" in title for title in titles) == sum("nuc" in title for title in titles) > 0
    alone = [point for point in points if point.place.host == "nuc"]
    assert all(arrange(figure, alone, captions.sentences(alone)) is None for figure in BY_DEVICE)
