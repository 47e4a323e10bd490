"""Models of one graph, as a base and what was fine-tuned from it: they cost the same, which their points can show."""

from collections.abc import Iterable, Sequence

from edgeprof import units
from edgeprof.analysis.findings import comparable, latency
from edgeprof.schema import Point, PointKey, Record
from edgeprof.text import joined


class SameGraph(Record, frozen=True, kw_only=True):
    """Models of one graph, and their points at one load and place."""

    models: tuple[str, ...]
    places: tuple[tuple[Point, ...], ...]


def groups(points: Iterable[Point]) -> list[SameGraph]:
    """The models that share a graph, wherever two or more were measured in the same precision at the same load."""
    alike: dict[tuple[str, PointKey], list[Point]] = {}
    for point in filter(comparable, points):
        if point.subject.structure:
            key = point.key.lasting
            alike.setdefault((point.subject.structure, key.of_any_model), []).append(point)
    by_models: dict[tuple[str, ...], list[tuple[Point, ...]]] = {}
    for together in alike.values():
        models = tuple(point.subject.model for point in together)
        if len(models) > 1:
            by_models.setdefault(models, []).append(tuple(together))
    return [SameGraph(models=models, places=tuple(places)) for models, places in by_models.items()]


def sentences(points: Iterable[Point]) -> list[str]:
    """ "gpt2 and my-sft have the same graph and are one line in the figures; their medians differ by at most 2 %." """
    return [_sentence(group) for group in groups(points)]


def _sentence(group: SameGraph) -> str:
    largest = max(map(_difference, group.places))
    apart = sum(map(_disjoint, group.places))
    beyond = f"beyond their intervals at {apart} of {units.counted(len(group.places), 'point')}"
    noise = beyond if apart else "within noise"
    return (
        f"{joined(group.models)} have the same graph and are one line in the figures, of the measurements of all; "
        f"their medians differ by at most {units.percent(largest)}, {noise}."
    )


def _difference(points: Sequence[Point]) -> float:
    medians = [latency(point).value for point in points]
    return max(medians) / min(medians) - 1


def _disjoint(points: Sequence[Point]) -> bool:
    return max(latency(point).low for point in points) > min(latency(point).high for point in points)
