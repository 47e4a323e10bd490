"""What is asked of a child, what it answers, and what a run keeps of it."""

from typing import Generic, Literal, TypeVar

from edgeprof import units
from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds, Times
from edgeprof.schema.identity import Load, Place, PointKey, Subject
from edgeprof.schema.models import QuantReceipt
from edgeprof.schema.placement import CPU, Agreement, Kind, Placement, Target

R = TypeVar("R")

Status = Literal["ok", "failed", "timeout", "unsupported"]
Fill = Literal["token_ids", "ones", "zeros", "value", "positions", "normal", "uniform", "strings", "file"]


def _require_reading(status: Status, reading: object) -> None:
    if (status == "ok") != (reading is not None):
        raise ValueError(f"status '{status}' {'lacks its' if reading is None else 'goes with no'} reading")


class InputValue(Record, frozen=True, kw_only=True):
    """A tensor the child makes (or reads from `file`), so that requests stay small."""

    name: str
    dtype: str  # as TensorSpec's
    kind: Literal["tensor", "sequence", "optional", "map"] = "tensor"
    shape: tuple[int, ...]  # of a sequence, each element's
    fill: Fill
    start: int = 0  # "positions" count from here; what a "value" is
    high: int = 2  # "token_ids" are drawn below this
    rows: int = 0  # of the table that "positions" index; 0: not known
    file: str = ""
    sha256: str = ""  # of the file


class StoppingRule(Record, frozen=True, kw_only=True):
    """Timed runs go on until both minima are met, or `max_time_s` has passed."""

    min_runs: int = 10
    min_time_s: float = 1.0
    max_time_s: float = 60.0


class FileState(Record, frozen=True, kw_only=True):
    """A file as it was found: what changes when it is written to or replaced."""

    path: str
    size: int
    mtime_ns: int
    inode: int


class Request(Record, frozen=True, kw_only=True):
    """What one measuring child reads."""

    model: str
    weights_folder: str = ""  # where the weights lie that the model refers to, if not beside it
    target: Target = CPU
    threads: int
    inputs: tuple[InputValue, ...]
    files: tuple[FileState, ...] = ()  # that must stay as they are until the end
    stopping: StoppingRule
    nodes: int = 0  # that the provider has by its placement; 0: not known
    in_place: bool = False  # a KV cache of fixed size is written where it was read


class Reading(Record, frozen=True, kw_only=True):
    """What one measuring child saw. Seconds from a monotonic clock, bytes from the kernel."""

    providers_active: tuple[str, ...]
    load_s: Seconds
    first_run_s: Seconds
    warmup_runs: Count
    latencies_s: Times
    memory_imports_bytes: Count  # resident with interpreter and runtime loaded, no model
    memory_loaded_bytes: Count  # resident once the session exists; inputs (the KV cache!) come later
    memory_loaded_file_bytes: Count  # the part of it that maps files: the OS can take it back
    memory_load_peak_bytes: Count  # highest resident set up to here
    memory_run_peak_bytes: Count  # highest resident set of the runs, inputs included
    memory_run_file_bytes: Count | None = None  # files mapped after the runs: weights that they were first to touch
    device_memory_bytes: Count | None = None  # of the device, taken by this process, where provider or driver tell it
    contention: float | None = None  # share of the timed runs that threads were ready and had no core; None: unknown


class Facts(Record, frozen=True, kw_only=True):
    """What is known of a point before it is measured, beside its key."""

    family: str = ""  # "": a file from elsewhere
    params: Count
    macs: Count | None = None  # None: could not be counted
    memory_predicted_bytes: Count | None = None  # working memory of onnxruntime's CPU provider; None: of another
    seq: Count | None = None  # of a file from elsewhere: what --seq asked for, and what --dim
    dims: dict[str, Count] = {}
    fills: dict[str, str] = {}  # of such a file: what each input was filled with
    ep_options: dict[str, str] = {}  # that the user gave the provider (--ep-option); its others are defaults


class ProviderReceipt(Record, frozen=True, kw_only=True):
    """What a provider made of a graph before anything was timed; the CPU provider runs the file as it is."""

    kind: Kind | None = None  # of the device; None: not recorded, or the CPU provider
    static: bool = False  # measured on a copy of the graph with all dimensions fixed
    placement: Placement | None = None  # None: on the CPU provider, which runs everything
    agreement: Agreement | None = None  # with what the CPU provider makes of the original file; None: not compared
    compiled: bool = False  # the session loaded what the provider had compiled beforehand (--compile)
    compile_s: Seconds | None = None  # how long that took, once
    load_plain_s: Seconds | None = None  # to load the graph itself; there when `compiled`

    @property
    def share(self) -> float | None:
        """Of the MACs on the provider asked for, of the nodes where MACs are unknown; None: the CPU provider."""
        return self.placement.share if self.placement else None

    @property
    def share_text(self) -> str:
        """ "83 % of MACs" where the provider asked for did not run all of it; "of nodes" where MACs are unknown."""
        if self.placement is None or self.placement.share >= 1:
            return ""
        return f"{units.percent(self.placement.share)} of {self.placement.share_unit}"

    @property
    def agrees(self) -> bool | None:
        """With the CPU provider, within the tolerance; None: not compared."""
        return self.agreement.within if self.agreement else None

    @property
    def max_rel_error(self) -> float | None:
        """From what the CPU provider computes; None: not compared."""
        return self.agreement.max_rel_error if self.agreement else None

    @property
    def difference_text(self) -> str:
        """ "result differs from the CPU by 1.2: outside tolerance"; empty where it is within, or was not compared."""
        if self.agreement is None or self.agreement.within:
            return ""
        return f"result differs from the CPU by {units.number(self.agreement.max_rel_error, 2)}: outside tolerance"


class Outcome(Record, Generic[R], frozen=True, kw_only=True):
    """What became of one process: a reading, or the reason why there is none."""

    status: Status
    error: str = ""
    reading: R | None = None  # there when status is "ok"
    started_at: str  # ISO 8601, UTC

    def __post_init__(self) -> None:
        _require_reading(self.status, self.reading)


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
    stopping: StoppingRule | None = None  # None: written before it was recorded
    settings_key: str  # of stopping rule and inputs: what else a repeated visit must share
    outcome: Outcome[Reading]


class OperatorTime(Record, frozen=True, kw_only=True):
    """All nodes of one operator type in one run: the median over profiled runs of the sum of their times."""

    operator: str  # the runtime's name for it, without its domain
    nodes: Count
    time_s: Seconds


class MatrixTime(Record, frozen=True, kw_only=True):
    """Nodes that multiply matrices of one shape in one way; as OperatorTime, told apart."""

    operator: str
    dtype: str  # of the first factor, as the runtime writes it: "float", "float16", "uint8"
    inner: Count  # columns of the first factor
    columns: Count  # of the result
    second: Literal["constant", "computed", "activation"]  # "computed": a matrix that was made anew in this run
    nodes: Count
    time_s: Seconds


class OperatorReading(Record, frozen=True, kw_only=True):
    """What the runtime's profiler saw in one child, and how long the same child's runs took with and without it."""

    operators: tuple[OperatorTime, ...]  # the longest time first
    matrices: tuple[MatrixTime, ...]
    profiled_latencies_s: Times
    latencies_s: Times  # of runs after the profiler was stopped


class OperatorPass(Keyed, frozen=True, kw_only=True):
    """One point with the profiler on, apart from all timed visits: a line of operators.jsonl."""

    schema_version: int = SCHEMA_VERSION
    vocabulary: Count | None = None  # columns of the logits, where the file says how many
    quantization: QuantReceipt | None = None  # of the artifact
    dispatch_only: bool = False  # a run returns before the device is done: times of operators are those of handing over
    settings_key: str
    outcome: Outcome[OperatorReading]


class KernelTime(Record, frozen=True, kw_only=True):
    """One matrix product alone in one process: a line of kernels.jsonl. What int8 can gain on this machine at most."""

    schema_version: int = SCHEMA_VERSION
    precision: Literal["fp32", "int8"]
    tokens: Count  # rows of the first factor
    width: Count  # the second factor is width x width, and constant
    threads: Count
    round: Count
    status: Status
    error: str = ""
    median_s: Seconds | None = None
    machine_id: str
    started_at: str

    def __post_init__(self) -> None:
        _require_reading(self.status, self.median_s)


class Machine(Record, frozen=True, kw_only=True):
    """Where a run was made. `machine_id` is a digest of what must agree for times to be comparable."""

    schema_version: int = SCHEMA_VERSION
    machine_id: str
    cpu: str
    cpu_features: tuple[str, ...]
    architecture: str
    cores_allowed: Count
    governor: str  # "unknown" where the kernel does not tell
    memory_bytes: Count
    memory_limit_bytes: Count | None  # cgroup limit
    os: str
    versions: dict[str, str]

    @classmethod
    def unrecorded(cls, machine_id: str) -> "Machine":
        """Of measurements that were copied without it: nothing is known but its id."""
        return cls(
            machine_id=machine_id,
            cpu="",
            cpu_features=(),
            architecture="",
            cores_allowed=0,
            governor="unknown",
            memory_bytes=0,
            memory_limit_bytes=None,
            os="",
            versions={},
        )
