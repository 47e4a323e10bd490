"""What is derived from records: points, findings, comparisons, claims."""

from typing import Literal

from edgeprof import units
from edgeprof.schema.base import Record
from edgeprof.schema.identity import Phase
from edgeprof.schema.placement import Placement
from edgeprof.schema.runs import Status

Verdict = Literal["confirmed", "confirmed with a correction", "wrong", "not shown"]


class Point(Record, frozen=True, kw_only=True):
    """One point over all its rounds: a row of measurements.csv, in this order.

    Latencies are None when no visit succeeded. `memory_*` are medians over rounds, peaks are maxima.
    """

    variant: str
    family: str
    params: int
    precision: str
    provider: str
    phase: Phase
    batch: int
    tokens: int | None  # None: the length of the sequence is not known
    past_tokens: int
    threads: int
    status: Status
    latency_median_s: float | None
    latency_ci_low_s: float | None
    latency_ci_high_s: float | None
    latency_p90_s: float | None
    samples: int
    memory_peak_bytes: int | None
    memory_weights_bytes: int | None  # resident growth at load, and mapped weights that the runs touched
    macs: int | None
    machine_id: str
    # for the reader of edgeprof's own report
    memory_runtime_bytes: int | None  # resident before any model was loaded
    memory_working_bytes: int | None  # highest resident growth of the runs beyond load
    memory_predicted_bytes: int | None  # what was predicted for that from the graph; None: could not be counted
    load_s: float | None
    first_run_s: float | None
    rounds: int
    weights: str
    error: str
    emulated: bool = False
    device: str = ""
    static: bool = False
    macs_share: float | None = None  # of the provider asked for; None: the CPU provider, or not known
    nodes_share: float | None = None
    partitions: int | None = None  # of the provider asked for
    agrees: bool | None = None  # with the CPU provider, within the tolerance; None: not compared
    max_rel_error: float | None = None
    device_memory_bytes: int | None = None
    min_runs: int | None = None  # of the stopping rule; None: not recorded
    min_time_s: float | None = None
    provider_options: str = ""  # "backend_type=htp soc_model=60"
    compiled: bool = False  # `load_s` is of what the provider had compiled beforehand
    compile_s: float | None = None
    load_plain_s: float | None = None  # to load the graph itself; there when `compiled`
    provider_library: str = ""  # of a provider that edgeprof does not know by itself
    seq: int | None = None  # of a file from elsewhere: what --seq asked for, and what --dim ("M=32 N=1")
    dims: str = ""
    fills: str = ""  # of a file from elsewhere, what each input was filled with: "x: normal, mask: ones"

    @property
    def share(self) -> float | None:
        """Of the MACs on the provider asked for, of the nodes where MACs are unknown; None: not known, or the CPU."""
        return self.nodes_share if self.macs_share is None else self.macs_share

    @property
    def share_told(self) -> str:
        """ "83 % of MACs" where the provider asked for did not do all of it; "of nodes" where MACs are unknown."""
        of = "nodes" if self.macs_share is None else "MACs"
        return f"{units.percent(self.share)} of {of}" if self.share is not None and self.share < 1 else ""

    @property
    def verdict_told(self) -> str:
        """ "result differs from the CPU by 1.2: outside tolerance"; nothing where it is within, or was not compared."""
        if self.agrees is not False:
            return ""
        by = f" by {units.number(self.max_rel_error, 2)}" if self.max_rel_error is not None else ""
        return f"result differs from the CPU{by}: outside tolerance"

    @property
    def length(self) -> int:
        """The token length on every axis: tokens at once in prefill, tokens cached in decode; 0: not known."""
        return self.past_tokens if self.phase == "decode" else self.tokens or 0


class PlacedPoint(Record, frozen=True, kw_only=True):
    """A point on another provider than the CPU's, and which provider ran what of it."""

    point: Point
    placement: Placement


class Findings(Record, frozen=True, kw_only=True):
    """What the points say, in sentences computed from them (`edgeprof.analysis.captions`)."""

    headlines: tuple[str, ...]
    captions: dict[str, str]  # name of a figure -> what it shows
    reference: tuple[Point, ...]  # the points of figures over the parameter count: one for each series, lengths alike


class Side(Record, frozen=True, kw_only=True):
    """One of two files that are compared."""

    variant: str
    precision: str


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
    provider: str
    batch: int
    threads: int
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
