"""The record of a visit: a point, what is known of it before, and the outcome."""

from typing import Generic, Literal, TypeVar

from edgeprof import units
from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds
from edgeprof.schema.identity import Load, Place, PointKey, Subject
from edgeprof.schema.memory import MemoryLimit, PredictedMemory
from edgeprof.schema.placement import Agreement, Kind, Placement
from edgeprof.schema.worker import Reading, StoppingRule

R = TypeVar("R")

Status = Literal["ok", "failed", "timeout", "out of memory", "unsupported", "lost"]


def require_reading(status: Status, reading: object) -> None:
    if (status == "ok") != (reading is not None):
        raise ValueError(f"status '{status}' {'lacks its' if reading is None else 'goes with no'} reading")


class Goal(Record, frozen=True, kw_only=True):
    """When a point has been visited enough: at least `rounds` times, and then until one of the others is reached."""

    rounds: Count = 3
    ci: float = 0.03  # half-width of the 95 % interval of the median, as a share of the median
    max_time_s: Seconds = 30.0  # of all visits of a point


class Facts(Record, frozen=True, kw_only=True):
    """Facts of a point that are known before it is measured, besides its key."""

    family: str = ""  # or the type of a model that no family describes; "": a user's file
    params: Count
    macs: Count | None = None  # None: could not be counted
    memory_predicted_bytes: Count | None = None  # working memory on the CPU provider; None: another provider
    memory: PredictedMemory | None = None  # all of it, by parts; None: as above, or not predicted
    latency_predicted_s: Seconds | None = None  # at the best level, from a probe of the machine; None: none was kept
    cache_copied_bytes: Count = 0  # of a KV cache that grows: what a run copies of it; 0: it is written in place
    seq: Count | None = None  # for a user's file: the values of --seq and --dim
    dims: dict[str, Count] = {}
    fills: dict[str, str] = {}  # for such a file: input -> fill
    ep_options: dict[str, str] = {}  # set by the user (--ep-option); the others are defaults


class ProviderReceipt(Record, frozen=True, kw_only=True):
    """The preparation of a graph for a provider; the CPU provider runs the file as it is."""

    kind: Kind | None = None  # of the device; None: not recorded, or the CPU provider
    static: bool = False  # measured on a copy of the graph with all dimensions fixed
    placement: Placement | None = None  # None: the CPU provider, which runs everything
    agreement: Agreement | None = None  # with the CPU provider on the original file; None: not compared
    compiled: bool = False  # the session loaded the ahead-of-time result (--compile)
    compile_s: Seconds | None = None  # time of that compilation
    load_plain_s: Seconds | None = None  # time to load the graph itself; set when `compiled`

    @property
    def share(self) -> float | None:
        """Share of MACs on the requested provider, or of nodes where MACs are unknown; None: the CPU provider."""
        return self.placement.share if self.placement else None

    @property
    def share_text(self) -> str:
        """ "83 % of MACs" where the requested provider ran only a part; "of nodes" where MACs are unknown."""
        if self.placement is None or self.placement.share >= 1:
            return ""
        return f"{units.percent(self.placement.share)} of {self.placement.share_unit}"

    @property
    def agrees(self) -> bool | None:
        """Whether results agree with the CPU provider within the tolerance; None: not compared."""
        return self.agreement.within if self.agreement else None

    @property
    def max_rel_error(self) -> float | None:
        """Largest relative error against the CPU provider; None: not compared."""
        return self.agreement.max_rel_error if self.agreement else None

    @property
    def difference_text(self) -> str:
        """ "result differs from the CPU by 1.2: outside tolerance"; empty where results agree or were not compared."""
        if self.agreement is None or self.agreement.within:
            return ""
        return f"result differs from the CPU by {units.number(self.agreement.max_rel_error, 2)}: outside tolerance"


class Outcome(Record, Generic[R], frozen=True, kw_only=True):
    """The outcome of one process: a reading, or the reason why there is none."""

    status: Status
    error: str = ""
    reading: R | None = None  # set when status is "ok"
    started_at: str  # ISO 8601, UTC
    took_s: Seconds = 0.0  # of the process, from its start to its end; 0: not recorded by an older edgeprof

    def __post_init__(self) -> None:
        require_reading(self.status, self.reading)


class Keyed(Record, frozen=True, kw_only=True):
    """A record of one point."""

    key: PointKey

    @property
    def subject(self) -> Subject:
        return self.key.subject

    @property
    def load(self) -> Load:
        return self.key.load

    @property
    def place(self) -> Place:
        return self.key.place

    @property
    def machine_id(self) -> str:
        return self.key.place.machine_id


class Measurement(Keyed, frozen=True, kw_only=True):
    """One visit of one point in one process: a line of measurements.jsonl."""

    schema_version: int = SCHEMA_VERSION
    round: Count
    facts: Facts
    receipt: ProviderReceipt = ProviderReceipt()
    stopping: StoppingRule | None = None  # None: not recorded by an older edgeprof
    goal: Goal | None = None  # None: as above
    memory_limit: MemoryLimit | None = None  # None: none
    settings_key: str  # digest of stopping rule, inputs and the like, which repeated visits share
    outcome: Outcome[Reading]
