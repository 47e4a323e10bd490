"""Laws of latency over token length, fitted to the points of a run: laws.json."""

from typing import Literal

from edgeprof.schema.base import SCHEMA_VERSION, Record
from edgeprof.schema.derived import Curve
from edgeprof.schema.identity import PointKey


class Span(Record, frozen=True, kw_only=True):
    """A 95 % interval."""

    low: float
    high: float


class Law(Record, frozen=True, kw_only=True):
    """Seconds of a run over n tokens, in decode over n cached ones: constant + linear n + quadratic n^2."""

    key: PointKey  # of the line: without lengths
    lengths: tuple[int, ...]
    curve: Curve
    constant: Span
    linear: Span
    quadratic: Span
    held_out: int  # the longest length: fitted without it,
    held_out_error: float  # the law predicts it too high by this share (below 0: too low)
    not_steady: tuple[int, ...] = ()  # lengths whose points are not steady


class MeasuredCrossover(Record, frozen=True, kw_only=True):
    """Where two lines that differ in precision or provider take the same time.

    `faster` is the one that is faster at `tokens` and longer, and `slower` at shorter lengths; without `tokens` the
    lines do not cross in the measured range, and `faster` is faster throughout.
    """

    faster: PointKey
    slower: PointKey
    shortest: int  # of the lengths that both were measured at
    longest: int
    tokens: float | None  # None: not in the measured range
    low: float | None = None  # of the 95 % interval; None: below the measured range
    high: float | None = None  # None: above it
    not_steady: int = 0  # points of both lines that are not steady
    shown: bool  # whether 95 % of repeated measurements would agree on who is faster at both ends


class Laws(Record, frozen=True, kw_only=True):
    """laws.json."""

    schema_version: int = SCHEMA_VERSION
    of: Literal["best_s"] = "best_s"  # the latency that was fitted
    laws: tuple[Law, ...]
    crossovers: tuple[MeasuredCrossover, ...]
