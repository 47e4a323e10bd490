"""The table of laws: time over token length, a row for each line."""

from collections.abc import Sequence

from edgeprof import units
from edgeprof.report.table import MISSING, Column, Table, tabulate
from edgeprof.schema import Law, Span

NOTE = (
    "Time = fixed + per token n + per pair n^2, for lines of four lengths or more; in decode n counts cached tokens, "
    "and there are no pairs. Fitted to the best levels (Best in the table of points), each term 0 or more, weighted by "
    "the intervals of the points. Intervals are for 95 %, by a parametric bootstrap from those of the points. Held "
    "out: the longest length, and how far a law fitted without it is off there."
)


def laws(fitted: Sequence[Law]) -> Table:
    return tabulate(fitted, _COLUMNS)


def _term(value: float, span: Span) -> str:
    """ "1.2 ms (1.1 ms to 1.3 ms)"; of a term that is 0, what it may be at most."""
    if not value:
        return f"0 (up to {units.duration(span.high)})" if span.high else "0"
    return f"{units.duration(value)} ({units.duration(span.low) if span.low else '0'} to {units.duration(span.high)})"


def _not_steady(law: Law) -> str:
    return ", ".join(f"{length:,}" for length in law.not_steady)


_COLUMNS: tuple[Column[Law], ...] = (
    Column("Variant", lambda law: law.key.subject.model, number=False),
    Column("Precision", lambda law: str(law.key.subject.precision), number=False),
    Column("Device", lambda law: law.key.place.host, number=False, kept="filled"),
    Column("Provider", lambda law: law.key.place.provider, number=False, kept="varying"),
    Column("Batch", lambda law: str(law.key.load.batch), kept="varying"),
    Column("Threads", lambda law: str(law.key.place.threads), kept="varying"),
    Column("Phase", lambda law: law.key.load.phase, number=False),
    Column("Tokens", lambda law: f"{law.lengths[0]:,} to {law.lengths[-1]:,}"),
    Column("Fixed", lambda law: _term(law.curve.constant, law.constant)),
    Column("Per token", lambda law: _term(law.curve.linear, law.linear)),
    Column(
        "Per pair",
        lambda law: MISSING if law.key.load.phase == "decode" else _term(law.curve.quadratic, law.quadratic),
        kept="filled",
    ),
    Column("Largest error", lambda law: f"{100 * law.curve.worst:.1f} %"),
    Column("Held out", lambda law: f"{law.held_out:,}: {100 * law.held_out_error:+.1f} %"),
    Column("Not steady at", _not_steady, number=False, kept="filled"),
)
