"""What is derived from records: points, findings, comparisons, claims."""

from typing import Literal

from edgeprof.schema.base import Record
from edgeprof.schema.identity import Phase, Place, Precision
from edgeprof.schema.placement import Placement
from edgeprof.schema.runs import Facts, Keyed, ProviderReceipt, Status, StoppingRule

Verdict = Literal["confirmed", "confirmed with a correction", "wrong", "not shown"]


class LatencySummary(Record, frozen=True, kw_only=True):
    """Latency of one point over all its rounds, by the definitions of `edgeprof.analysis.statistics`."""

    median_s: float
    ci_low_s: float
    ci_high_s: float
    p90_s: float
    samples: int  # timed runs
    rounds_s: tuple[float, ...]  # the median of each round


class MemorySummary(Record, frozen=True, kw_only=True):
    """Memory of one point over all its rounds: parts are medians, the peak and the device's are maxima."""

    runtime_bytes: int  # resident before any model was loaded
    weights_bytes: int  # resident growth at load, and mapped weights that the runs touched
    working_bytes: int  # highest resident growth of the runs beyond load
    peak_bytes: int
    device_bytes: int | None = None  # of the device, where provider or driver report it

    @property
    def peak_at_load(self) -> bool:
        """Loading needed clearly (5 %) more than the runs did; otherwise the parts add up to the peak."""
        return self.peak_bytes > 1.05 * (self.runtime_bytes + self.weights_bytes + self.working_bytes)


class Point(Keyed, frozen=True, kw_only=True):
    """One point over all its rounds: its key, what is known of it, and the summary of its visits.

    Where no visit succeeded there is no latency, no memory, and `status` is that of the newest visit.
    """

    facts: Facts
    receipt: ProviderReceipt = ProviderReceipt()
    stopping: StoppingRule | None = None  # None: not recorded
    status: Status
    error: str = ""  # why rounds are missing
    rounds: int  # that succeeded
    latency: LatencySummary | None = None
    memory: MemorySummary | None = None
    load_s: float | None = None
    first_run_s: float | None = None

    @property
    def placement(self) -> Placement:
        """Which provider ran what, of a point on another provider than the CPU's.

        Raises:
            ValueError: it is not known.
        """
        if self.receipt.placement is None:
            raise ValueError(f"the placement of {self.key.label} is not known")
        return self.receipt.placement


class Findings(Record, frozen=True, kw_only=True):
    """What the points say, in sentences computed from them (`edgeprof.analysis.captions`)."""

    headlines: tuple[str, ...]
    captions: dict[str, str]  # name of a figure -> what it shows
    reference: tuple[Point, ...]  # the points of figures over the parameter count: one for each series, lengths alike


class Side(Record, frozen=True, kw_only=True):
    """One of two files that are compared."""

    model: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.model} {self.precision}"


class ClassTime(Record, frozen=True, kw_only=True):
    """Operators of one class in a run of A and in one of B."""

    name: str
    a_s: float
    b_s: float


class ComparedLength(Record, frozen=True, kw_only=True):
    """A and B at one token length. `speed` above 1: B is faster; its interval holds 1 where the two overlap."""

    phase: Phase
    length: int
    a_s: float
    b_s: float
    speed: float
    speed_low: float
    speed_high: float
    classes: tuple[ClassTime, ...] = ()  # none where the operators of A or of B were not profiled
    a_explained: float | None = None  # share of an unprofiled run that the sum of operator times is
    b_explained: float | None = None


class Turn(Record, frozen=True, kw_only=True):
    """Between two measured lengths the faster one changes."""

    phase: Phase
    below: int
    above: int
    winner: Literal["A", "B"]  # from `above` on


class Why(Record, frozen=True, kw_only=True):
    """Why B is faster than A, or is not (`edgeprof.analysis.why`)."""

    a: Side
    b: Side
    place: Place
    batch: int
    places: tuple[ComparedLength, ...]  # prefill first, shortest length first
    turns: tuple[Turn, ...]
    verdicts: tuple[str, ...]  # a sentence for each phase
    findings: tuple[str, ...]  # what it comes from
    machine: tuple[str, ...]  # what the processor offers for int8, and what is known of its use


class Curve(Record, frozen=True, kw_only=True):
    """constant + linear n + quadratic n^2 over token lengths n, in the unit of the values it was fitted to."""

    constant: float
    linear: float
    quadratic: float
    worst: float  # the largest distance from a value, relative to the value
    r_squared: float

    def at(self, length: float) -> float:
        return self.constant + self.linear * length + self.quadratic * length**2


class MeasuredGrowth(Record, frozen=True, kw_only=True):
    """One model over token lengths, shortest first, and the curves through what was measured."""

    points: tuple[Point, ...]
    latency_s: Curve
    working_bytes: Curve


class CheckedClaim(Record, frozen=True, kw_only=True):
    """A claim about transformers, and what its check found (`edgeprof.analysis.claims`)."""

    number: int
    claim: str
    how: Literal["computed", "counted", "measured"]
    recorded: Verdict  # what the check gave when the claim was written down
    verdict: Verdict | None  # what it gives now; None: not checked
    found: tuple[str, ...]  # in words; of a claim that was not checked the reason
    correction: str = ""
    numbers: dict[str, float] = {}
    growths: tuple[MeasuredGrowth, ...] = ()
    run: str = ""  # folder of the run with the measurements that were used

    @property
    def holds(self) -> bool:
        """Nothing speaks against the recorded verdict."""
        return self.verdict in (None, self.recorded)
