"""Charts of counted quantities: ledgers over the token length."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edgeprof.recipe_table import Stroke
from edgeprof.report import style
from edgeprof.report.chart import Chart, ChartValue, Event, Line, Mark, Panel
from edgeprof.report.figures import CACHED_TOKENS, TOKENS, Explained, View
from edgeprof.schema import Crossover, Ledger

UNMARKED = Stroke((), "", False)  # counts are exact between the lengths too, so marks would mislead


def arrange(
    row: Explained, ledgers: Mapping[str, Sequence[Ledger]], crossovers: Sequence[Crossover] = (), *, of: str = ""
) -> Chart | None:
    """The chart of a figure; None where there is nothing to draw: no values, or one length only.

    Args:
        ledgers: model -> ledgers over token lengths.
        of: name of the model, for the title.
    """
    every = [ledger for several in ledgers.values() for ledger in several]
    lines = {view: _lines(view, ledgers) for view in row.views}
    if len({mark.x for drawn in lines.values() for line in drawn for mark in line.marks}) < 2:
        return None
    decode = every[0].load.phase == "decode"
    events = _events(crossovers, row.quantity, every, "cached tokens" if decode else "tokens")
    return Chart(
        title=f"{of}: {row.title}" if of else row.title,
        remarks=(*_remarks(every), *filter(None, (_without_values(view, ledgers) for view in row.views))),
        x=CACHED_TOKENS if decode else TOKENS,
        panels=tuple(Panel(view.title, view.y, drawn, events=events) for view, drawn in lines.items() if drawn),
    )


def _lines(view: View, ledgers: Mapping[str, Sequence[Ledger]]) -> tuple[Line, ...]:
    """One line for each name, coloured by the rank of the name; zeros do not fit on a logarithmic axis."""
    marks: dict[str, list[Mark]] = {}
    for model, several in ledgers.items():
        for ledger in sorted(several, key=lambda ledger: ledger.load.length):
            for name, value in view.of(ledger).items():
                line = marks.setdefault(name or model, [])
                if value > 0 and ledger.load.length > 0:
                    line.append(Mark(ledger.load.length, ChartValue.exact(value)))
    ranked = enumerate(marks.items())
    return tuple(Line(name, style.colour(rank), UNMARKED, tuple(some)) for rank, (name, some) in ranked if some)


def _without_values(view: View, ledgers: Mapping[str, Sequence[Ledger]]) -> str:
    """Models with zero everywhere do not fit on a logarithmic axis, and are named in a remark."""
    none = [model for model, several in ledgers.items() if not any(any(view.of(it).values()) for it in several)]
    return f"{view.none}: {', '.join(none)}" if view.none and none else ""


def _events(
    crossovers: Iterable[Crossover], quantity: str, ledgers: Sequence[Ledger], tokens: str
) -> tuple[Event, ...]:
    """Crossovers within the drawn lengths; the caption reports the others."""
    longest, shortest = (end(ledger.load.length for ledger in ledgers) for end in (max, min))
    return tuple(
        Event(f"{cross.larger} overtakes {cross.smaller} at {cross.tokens:,} {tokens}", cross.tokens)
        for cross in crossovers
        if cross.quantity == quantity and cross.tokens is not None and shortest <= cross.tokens <= longest
    )


def _remarks(ledgers: Sequence[Ledger]) -> list[str]:
    """Settings common to all ledgers."""
    sources = {"formulas": "from closed forms, not measured", "graph": "counted on the graph, not measured"}
    remarks: tuple[Callable[[Ledger], str], ...] = (
        lambda ledger: sources[ledger.source],
        lambda ledger: ledger.load.phase,
        lambda ledger: f"batch {ledger.load.batch}",
        lambda ledger: str(ledger.precision),
    )
    every = [{remark(ledger) for ledger in ledgers} for remark in remarks]
    return [text for texts in every if len(texts) == 1 for text in texts]
