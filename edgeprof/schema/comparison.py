"""Two models, runs or environments compared point by point (`edgeprof.analysis.compare`)."""

from typing import Literal

from edgeprof import units
from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Times
from edgeprof.schema.identity import PointKey
from edgeprof.schema.machine import Machine
from edgeprof.schema.measurement import Keyed, Outcome
from edgeprof.schema.worker import Request

Difference = Literal["faster", "slower", "no difference shown"]


class PairRequest(Record, frozen=True, kw_only=True):
    """The request to the worker that runs A and B in turn; when it stops is that of A."""

    a: Request
    b: Request


class PairBlock(Record, frozen=True, kw_only=True):
    """Some runs of A and some of B, one after the other; a first run of each is not timed."""

    load: Count  # of both models in this process: each lies elsewhere in memory
    a_s: Times
    b_s: Times


class PairReading(Record, frozen=True, kw_only=True):
    blocks: tuple[PairBlock, ...]


class PairVisit(Keyed, frozen=True, kw_only=True):
    """A and B in turn at one point, in one process: a line of pairs.jsonl. The key is that of A."""

    schema_version: int = SCHEMA_VERSION
    b: PointKey
    round: Count
    settings_key: str  # of the settings of both
    outcome: Outcome[PairReading]


class ComparedSide(Record, frozen=True, kw_only=True):
    """A or B."""

    name: str  # "gpt2 int8", with the version of onnxruntime where that differs; or the name of a run
    folder: str  # the run with its records
    machine: Machine


class ComparedPoint(Record, frozen=True, kw_only=True):
    """One point in A and in B. The ratio is the time of B over that of A: below 1, B is faster."""

    a: PointKey
    b: PointKey
    a_s: float  # geometric mean over the rounds of the level of a visit (analysis/compare.py)
    b_s: float
    ratio: float
    ratio_low: float  # of the 95 % interval
    ratio_high: float
    verdict: Difference
    a_rounds: Count
    b_rounds: Count
    note: str = ""  # what makes the ratio less certain

    @property
    def label(self) -> str:
        """ "gpt2 int8, decode at 64 tokens"; its size alone where A and B are different models or precisions."""
        a, b = ((key.subject.model, key.subject.precision) for key in (self.a, self.b))
        return self.a.label if a == b else self.a.load.label

    @property
    def rounds_text(self) -> str:
        """ "8", or "3, 5" of A and of B."""
        return str(self.a_rounds) if self.a_rounds == self.b_rounds else f"{self.a_rounds}, {self.b_rounds}"


class Comparison(Record, frozen=True, kw_only=True):
    """B against A, point by point."""

    schema_version: int = SCHEMA_VERSION
    a: ComparedSide
    b: ComparedSide
    paired: bool  # A and B were visited in turn, round by round; else at different times
    points: tuple[ComparedPoint, ...]
    failed: tuple[str, ...] = ()  # points that could not be compared, each with the reason
    notes: tuple[str, ...] = ()
    folder: str  # with comparison.json, comparison.md and index.html

    @property
    def headline(self) -> str:
        """ "B is slower than A at 1 of 2 points; no difference is shown at 1."."""
        verdicts = [point.verdict for point in self.points]
        of_all = units.counted(len(verdicts), "point")
        shown = [f"{one} than A at {verdicts.count(one)}" for one in ("faster", "slower") if one in verdicts]
        if not shown:
            return f"No difference is shown at {of_all}."
        rest = verdicts.count("no difference shown")
        return f"B is {' and '.join(shown)} of {of_all}" + (f"; no difference is shown at {rest}." if rest else ".")

    def regressions(self, above: float = 0.0) -> list[ComparedPoint]:
        """The points at which B is shown to be slower, by more than a share: 0.05 for 5 %."""
        return [point for point in self.points if point.verdict == "slower" and point.ratio > 1 + above]
