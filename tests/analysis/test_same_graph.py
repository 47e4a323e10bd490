"""A base and a model that was fine-tuned from it: one line in figures, points of their own in tables."""

import pytest
from factories import point, reading, visit

from edgeprof.analysis import same_graph, statistics


def test_visits_of_one_graph_are_pooled_and_others_stay() -> None:
    visits = [
        visit(0, reading(0.014), variant="tuned", structure="a"),
        visit(0, reading(0.010), variant="base", structure="a"),
        visit(1, reading(0.012), variant="base", structure="a"),
        visit(0, reading(0.030), variant="other", structure="b"),
        visit(0, reading(0.020), variant="older", structure=""),
        visit(0, reading(0.021), variant="older-too", structure=""),
        visit(0, reading(0.005), variant="tuned", structure="a", precision="int8"),
    ]
    pooled = {(p.subject.model, str(p.subject.precision)): p for p in statistics.pooled(visits)}
    assert {key: p.latency.median_s for key, p in pooled.items() if p.latency} == {
        ("base (= tuned)", "fp32"): 0.012,
        ("other", "fp32"): 0.030,
        ("older", "fp32"): 0.020,
        ("older-too", "fp32"): 0.021,
        ("tuned", "int8"): 0.005,
    }
    assert pooled["base (= tuned)", "fp32"].rounds == 3
    assert len(statistics.points(visits)) == 6


@pytest.mark.parametrize(("seconds", "verdict"), [(0.0101, "1 %, within noise"), (0.015, "50 %, beyond their inter")])
def test_the_difference_of_their_medians_is_reported(seconds: float, verdict: str) -> None:
    points = [
        point(0.010, variant="base", structure="a"),
        point(seconds, variant="tuned", structure="a"),
        point(0.010, variant="other", structure="b"),
        point(0.020, variant="base", structure="a", tokens=999),
    ]
    (sentence,) = same_graph.sentences(points)
    assert sentence.startswith("base and tuned have the same graph and are one line in the figures")
    assert verdict in sentence
