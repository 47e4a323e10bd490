"""Records derived from others: points, findings, comparisons, claims."""

from typing import Literal

from edgeprof.schema.base import Record
from edgeprof.schema.identity import Phase, Place, PointKey, Precision
from edgeprof.schema.measurement import Facts, Keyed, ProviderReceipt, Status
from edgeprof.schema.memory import MemoryLimit
from edgeprof.schema.operators import ModuleTime
from edgeprof.schema.percentiles import least_samples
from edgeprof.schema.placement import Placement
from edgeprof.schema.worker import StoppingRule

Verdict = Literal["confirmed", "confirmed with a correction", "wrong", "not shown"]


Steadiness = Literal["steady", "noisy", "drifting", "disturbed"]


class Percentile(Record, frozen=True, kw_only=True):
    """A percentile of the latencies of all rounds."""

    percent: float
    value_s: float | None  # None: the runs are too few to tell it
    least_samples: int  # that it takes (`schema.percentiles`)

    @property
    def missing(self) -> str:
        """What stands in place of a value that cannot be told."""
        return f"- (takes {self.least_samples:,} runs)"


class LatencySummary(Record, frozen=True, kw_only=True):
    """Latency of one point over all its rounds, as defined in `edgeprof.analysis.statistics`."""

    median_s: float
    ci_low_s: float
    ci_high_s: float
    best_s: float  # the fastest level that lasted
    p90_s: float
    samples: int  # timed runs
    rounds_s: tuple[float, ...]  # the median of each visit that counts
    levels_s: dict[int, float] = {}  # round -> the fast level that lasted in its visit, of those that count
    percentiles: tuple[Percentile, ...] = ()  # those asked for

    @property
    def shown_p90_s(self) -> float | None:
        """The 90th percentile; None where the runs are too few to tell it."""
        return self.p90_s if self.samples >= least_samples(90) else None


class MemorySummary(Record, frozen=True, kw_only=True):
    """Memory of one point over all its rounds: parts are medians, the peak and device memory are maxima."""

    runtime_bytes: int  # resident before any model was loaded
    weights_bytes: int  # resident growth at load
    weights_touched_bytes: int = 0  # mapped weights that the runs were first to touch
    working_bytes: int  # highest resident growth of the runs beyond load
    peak_bytes: int
    pss_bytes: int | None = None  # after the runs, shared pages by share; None: the kernel does not tell
    private_bytes: int | None = None  # after the runs, pages of no other process
    device_bytes: int | None = None  # device memory, where provider or driver report it

    @property
    def peak_at_load(self) -> bool:
        """Whether loading needed clearly (5 %) more than the runs; otherwise the parts add up to the peak."""
        return self.peak_bytes > 1.05 * (self.resident_bytes + self.working_bytes)

    @property
    def loading_bytes(self) -> int:
        """What loading took at most beyond the peak of the runs."""
        return max(self.peak_bytes - self.resident_bytes - self.working_bytes, 0)

    @property
    def resident_bytes(self) -> int:
        """Runtime and weights, those that the runs touched included: what working memory comes on top of."""
        return self.runtime_bytes + self.weights_bytes + self.weights_touched_bytes


class Point(Keyed, frozen=True, kw_only=True):
    """One point over all its rounds: its key, its facts, and the summary of its visits.

    Without a successful visit there is no latency and no memory, and `status` is that of the newest visit.
    """

    facts: Facts
    receipt: ProviderReceipt = ProviderReceipt()
    stopping: StoppingRule | None = None  # None: not recorded
    memory_limit: MemoryLimit | None = None  # None: none
    status: Status
    error: str = ""  # why rounds are missing
    rounds: int  # successful visits
    latency: LatencySummary | None = None
    verdict: Steadiness | None = None  # how far the latency can be trusted
    verdict_note: str = ""  # what that rests on
    memory: MemorySummary | None = None
    load_s: float | None = None
    first_run_s: float | None = None

    @property
    def placement(self) -> Placement:
        """The placement of a point on a provider other than the CPU.

        Raises:
            ValueError: it was not recorded.
        """
        if self.receipt.placement is None:
            raise ValueError(f"the placement of {self.key.label} was not recorded")
        return self.receipt.placement


class Findings(Record, frozen=True, kw_only=True):
    """Sentences computed from points (`edgeprof.analysis.captions`)."""

    headlines: tuple[str, ...]
    trust: str = ""  # how good the times are
    captions: dict[str, str]  # figure -> caption
    reference: tuple[Point, ...]  # for figures over the parameter count: one point per series, at similar lengths
    hosts: dict[str, str] = {}  # of a run over several devices: device -> its name with its machine


class Generated(Record, frozen=True, kw_only=True):
    """Greedy generation after a prompt, beside the single step that was timed at the same depth."""

    key: PointKey
    tokens: int
    first_token_s: float
    token_s: float | None  # median, from token to token; None: one token was generated
    besides_s: float | None  # the median of what the loop takes besides the run
    tokens_per_s: float | None  # of all sequences together
    single_step_s: float | None  # None: not measured


class Side(Record, frozen=True, kw_only=True):
    """One of two compared files."""

    model: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.model} {self.precision}"


class ClassTime(Record, frozen=True, kw_only=True):
    """Time of one operator class in a run of A and in a run of B."""

    name: str
    a_s: float
    b_s: float


class ComparedLength(Record, frozen=True, kw_only=True):
    """A and B at one token length. `speed` above 1: B is faster; its interval includes 1 if no difference is shown."""

    phase: Phase
    length: int
    a_s: float
    b_s: float
    speed: float
    speed_low: float
    speed_high: float
    classes: tuple[ClassTime, ...] = ()  # empty where the operators of A or of B were not timed
    a_explained: float | None = None  # sum of operator times over the latency without the profiler
    b_explained: float | None = None


class Turn(Record, frozen=True, kw_only=True):
    """Two measured lengths between which the faster side changes."""

    phase: Phase
    below: int
    above: int
    winner: Literal["A", "B"]  # at `above` and longer


class Why(Record, frozen=True, kw_only=True):
    """Why B is or is not faster than A (`edgeprof.analysis.why`)."""

    a: Side
    b: Side
    place: Place
    batch: int
    places: tuple[ComparedLength, ...]  # prefill first, shortest length first
    turns: tuple[Turn, ...]
    verdicts: tuple[str, ...]  # a sentence for each phase
    findings: tuple[str, ...]  # the evidence for the verdicts
    machine: tuple[str, ...]  # int8 instructions of the processor, and their likely use


class Curve(Record, frozen=True, kw_only=True):
    """constant + linear n + quadratic n^2 over token lengths n, in the unit of the values it was fitted to."""

    constant: float
    linear: float
    quadratic: float
    worst: float  # largest relative error
    r_squared: float

    def at(self, length: float) -> float:
        return self.constant + self.linear * length + self.quadratic * length**2


class MeasuredGrowth(Record, frozen=True, kw_only=True):
    """One model over token lengths, shortest first, with curves fitted to its measurements."""

    points: tuple[Point, ...]
    latency_s: Curve
    working_bytes: Curve


class CheckedClaim(Record, frozen=True, kw_only=True):
    """A claim about transformers, and the result of its check (`edgeprof.analysis.claims`)."""

    number: int
    claim: str
    how: Literal["computed", "counted", "measured"]
    recorded: Verdict  # verdict when the claim was recorded
    verdict: Verdict | None  # present verdict; None: not checked
    found: tuple[str, ...]  # evidence as text; for an unchecked claim, the reason
    correction: str = ""
    numbers: dict[str, float] = {}
    growths: tuple[MeasuredGrowth, ...] = ()
    run: str = ""  # folder of the run whose points were used

    @property
    def holds(self) -> bool:
        """Whether the verdict is the recorded one, or the claim was not checked."""
        return self.verdict in (None, self.recorded)


Bound = Literal["compute", "memory", "overhead"]


class ModuleRoof(Record, frozen=True, kw_only=True):
    """A module against the ceilings of its device."""

    module: ModuleTime
    bound: Bound  # by the ceiling that allows it the least speed
    least_s: float  # what that ceiling allows
    share: float  # of the ceiling that it reaches: over 1 where caches give more than memory


class Roofline(Keyed, frozen=True, kw_only=True):
    """A point against the ceilings of its device (`edgeprof.analysis.roofline`)."""

    bound: Bound  # of most of its least time
    share: float  # of the ceilings that it reaches: least time over the latency without the profiler
    modules: tuple[ModuleRoof, ...]
