"""Requests to workers, their readings, and the records of a run."""

from typing import Generic, Literal, TypeVar

from edgeprof import units
from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds, Times
from edgeprof.schema.identity import Load, Place, PointKey, Subject
from edgeprof.schema.models import QuantReceipt
from edgeprof.schema.placement import CPU, Agreement, Kind, Placement, Target

R = TypeVar("R")

Status = Literal["ok", "failed", "timeout", "out of memory", "unsupported", "lost"]
LimitKind = Literal["cgroup", "address space"]
Fill = Literal["token_ids", "ones", "zeros", "value", "positions", "normal", "uniform", "strings", "file"]


def _require_reading(status: Status, reading: object) -> None:
    if (status == "ok") != (reading is not None):
        raise ValueError(f"status '{status}' {'lacks its' if reading is None else 'goes with no'} reading")


class InputValue(Record, frozen=True, kw_only=True):
    """An input that the worker generates or reads from `file`, so that requests stay small."""

    name: str
    dtype: str  # as in TensorSpec
    kind: Literal["tensor", "sequence", "optional", "map"] = "tensor"
    shape: tuple[int, ...]  # of a sequence, each element's
    fill: Fill
    start: int = 0  # first of "positions"; the value of "value"
    high: int = 2  # "token_ids" are drawn below this
    end: int | None = None  # the last of each row of "token_ids", and nowhere else; None: any
    rows: int = 0  # of the table that "positions" index; 0: unknown
    file: str = ""
    sha256: str = ""  # of the file


class StoppingRule(Record, frozen=True, kw_only=True):
    """Timed runs continue until both minima are reached, or `max_time_s` has passed."""

    min_runs: int = 10
    min_time_s: float = 1.0
    max_time_s: float = 60.0


class Goal(Record, frozen=True, kw_only=True):
    """When a point has been visited enough: at least `rounds` times, and then until one of the others is reached."""

    rounds: Count = 3
    ci: float = 0.03  # half-width of the 95 % interval of the median, as a share of the median
    max_time_s: Seconds = 30.0  # of all visits of a point


class FileState(Record, frozen=True, kw_only=True):
    """The state of a file: it changes when the file is written or replaced."""

    path: str
    size: int
    mtime_ns: int
    inode: int


class MemoryLimit(Record, frozen=True, kw_only=True):
    """The limit that a measuring process ran under (`edgeprof.measure.limited_process`)."""

    bytes: Count
    kind: LimitKind

    @property
    def counted(self) -> str:
        """What counts against it."""
        return "memory" if self.kind == "cgroup" else "address space"

    @property
    def text(self) -> str:
        """ "512 MiB of address space" """
        return f"{units.limit(self.bytes)} of {self.counted}"


class Request(Record, frozen=True, kw_only=True):
    """The request to a measuring worker."""

    model: str
    weights_folder: str = ""  # folder of the weights that the model refers to, if not its own
    target: Target = CPU
    threads: int
    inputs: tuple[InputValue, ...]
    files: tuple[FileState, ...] = ()  # that must not change during the visit
    stopping: StoppingRule
    nodes: int = 0  # on the provider, by its placement; 0: unknown
    in_place: bool = False  # a KV cache of fixed size is updated in place
    arena: bool = True  # whether the CPU allocator keeps what was freed
    prepacking: bool = True  # whether kernels repack their weights
    shared_tokens: Count = 0  # size of the buffers that are past and present of a KV cache at once; 0: they are two
    memory_limited: bool = False  # nothing besides the model may take memory: there are no canaries


class Canaries(Record, frozen=True, kw_only=True):
    """Times of fixed reference work in the measuring process: see `edgeprof.measure.canary`."""

    matrices_s: Seconds
    vector_s: Seconds


class Reading(Record, frozen=True, kw_only=True):
    """The reading of one measuring worker. Seconds from a monotonic clock, bytes from the kernel."""

    providers_active: tuple[str, ...]
    load_s: Seconds
    first_run_s: Seconds
    warmup_runs: Count
    latencies_s: Times
    memory_imports_bytes: Count  # resident with interpreter and runtime loaded, no model
    memory_imports_file_bytes: Count | None = None  # the part of it that maps files: libraries
    memory_loaded_bytes: Count  # resident after the session is created, before inputs (and the KV cache)
    memory_loaded_file_bytes: Count  # the part that maps files, which the OS can reclaim
    memory_load_peak_bytes: Count  # highest resident set up to here
    memory_run_peak_bytes: Count  # highest resident set of the runs, inputs included
    memory_run_file_bytes: Count | None = None  # mapped files after the runs: includes weights first touched by them
    memory_address_peak_bytes: Count | None = None  # most address space so far; None: not reported
    memory_loaded_mapped_bytes: Count | None = None  # the part of it that maps files of the model: its weights
    memory_run_mapped_bytes: Count | None = None  # the same after the runs; None: the kernel does not tell
    memory_run_pss_bytes: Count | None = None  # after the runs: shared pages count by share; None: not reported
    memory_run_private_bytes: Count | None = None  # after the runs: pages that no other process has
    device_memory_bytes: Count | None = None  # device memory of this process, where provider or driver report it
    contention: float | None = None  # share of the timed runs in which threads waited for a core; None: unknown
    canaries: tuple[Canaries, ...] = ()  # before the model was loaded, and after; none of a short visit


class RuntimeMemory(Record, frozen=True, kw_only=True):
    """What a measuring process of this machine takes without a model: a reading (`measure.runtime_memory`)."""

    loaded_bytes: Count
    run_bytes: Count  # runs touch code that loading does not
    window_bytes: Count = 1 << 16  # of a mapped file, that come into memory when one is read


class PredictedMemory(Record, frozen=True, kw_only=True):
    """Resident memory predicted from graph and file, part by part, on onnxruntime's CPU provider.

    Only `runtime_bytes` is a reading: of a process of this machine that measures a graph without weights.
    """

    runtime_bytes: Count  # interpreter and libraries, their code included
    session_bytes: Count  # graph and nodes
    weights_mapped_bytes: Count  # pages of data files that loading or the runs read
    weights_copied_bytes: Count  # in memory: stored in the .onnx file, or computed from other weights
    weights_packed_bytes: Count  # repacked for the kernels of products
    weights_kept_bytes: Count = 0  # freed while loading, but not returned to the system
    cache_bytes: Count  # KV cache that a run reads
    activations_bytes: Count  # the most other tensors alive at once, inputs and outputs included
    arena_bytes: Count  # what the runtime's allocator holds beyond tensors alive at once
    load_peak_bytes: Count  # the most while the session is created
    unpacked_bytes: Count = 0  # weights in memory if kernels repacked none: what a trial without that holds

    @property
    def run_peak_bytes(self) -> int:
        """The most in runs: all parts together."""
        return self.runtime_bytes + self.session_bytes + self.weights_bytes + self.working_bytes

    @property
    def working_bytes(self) -> int:
        """What runs take on top of what is loaded."""
        return self.cache_bytes + self.activations_bytes + self.arena_bytes

    @property
    def weights_bytes(self) -> int:
        return self.weights_mapped_bytes + self.weights_in_memory_bytes

    @property
    def weights_in_memory_bytes(self) -> int:
        """Of weights, what is not mapped: the process needs memory of its own for it."""
        return self.weights_copied_bytes + self.weights_packed_bytes + self.weights_kept_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that the process takes, loading or running."""
        return max(self.load_peak_bytes, self.run_peak_bytes)


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
    stopping: StoppingRule | None = None  # None: not recorded by an older edgeprof
    goal: Goal | None = None  # None: as above
    memory_limit: MemoryLimit | None = None  # None: none
    settings_key: str  # digest of stopping rule, inputs and the like, which repeated visits share
    outcome: Outcome[Reading]


class OperatorTime(Record, frozen=True, kw_only=True):
    """All nodes of one operator type in one run: the median over profiled runs of the sum of their times."""

    operator: str  # name in the runtime, without its domain
    nodes: Count
    time_s: Seconds


class MatrixTime(Record, frozen=True, kw_only=True):
    """All nodes that multiply matrices of one shape in one way; times as in OperatorTime."""

    operator: str
    dtype: str  # of the first factor, as the runtime writes it: "float", "float16", "uint8"
    inner: Count  # columns of the first factor
    columns: Count  # of the result
    second: Literal["constant", "computed", "activation"]  # "computed": produced in every run
    nodes: Count
    time_s: Seconds


MODULES = (
    *("embedding", "attention projections", "attention scores", "MLP", "norms and residuals", "head"),
    "other",
)
"""The parts of a transformer, as `edgeprof.counting.modules` defines them."""


class NodeTime(Record, frozen=True, kw_only=True):
    """One node in one run: its share, over all profiled runs, of the time of its operator."""

    name: str
    operator: str
    time_s: Seconds


class ModuleTime(Record, frozen=True, kw_only=True):
    """All nodes of one part of a transformer in one run. Times of all modules add up to those of all operators."""

    module: str  # of MODULES
    nodes: Count
    time_s: Seconds
    macs: Count = 0
    weights_bytes: Count = 0  # that its nodes read, as stored; of a table the rows that are looked up
    activation_bytes: Count = 0  # that its nodes read and write
    precision: str = "fp32"  # that most of its MACs multiply in

    @property
    def moved_bytes(self) -> int:
        return self.weights_bytes + self.activation_bytes

    @property
    def flops_per_s(self) -> float:
        """1 MAC = 2 FLOP; 0 where it computes no product."""
        return 2 * self.macs / self.time_s if self.time_s else 0.0

    @property
    def bytes_per_s(self) -> float:
        return self.moved_bytes / self.time_s if self.time_s else 0.0

    @property
    def intensity(self) -> float:
        """FLOP for each byte that it moves."""
        return 2 * self.macs / self.moved_bytes if self.moved_bytes else 0.0


class OperatorReading(Record, frozen=True, kw_only=True):
    """Operator times from the runtime's profiler in one worker, and its latencies with and without the profiler."""

    operators: tuple[OperatorTime, ...]  # the longest time first
    matrices: tuple[MatrixTime, ...]
    profiled_latencies_s: Times
    latencies_s: Times  # of runs without the profiler
    nodes: tuple[NodeTime, ...] = ()  # in the order in which they ran; a run keeps their sums (`OperatorPass.modules`)


class OperatorPass(Keyed, frozen=True, kw_only=True):
    """One run of a point with the profiler, separate from the timed visits: a line of operators.jsonl."""

    schema_version: int = SCHEMA_VERSION
    vocabulary: Count | None = None  # columns of the logits, where the file fixes them
    quantization: QuantReceipt | None = None  # of the artifact
    dispatch_only: bool = False  # runs return before the device is done: operator times are of dispatch
    modules: tuple[ModuleTime, ...] = ()  # of the CPU provider, the longest time first
    settings_key: str
    outcome: Outcome[OperatorReading]


class Spell(Record, frozen=True, kw_only=True):
    """Some seconds of a long run."""

    end_s: Seconds  # since the first run
    runs: Count
    median_s: Seconds
    temperature_c: float | None = None  # of the hottest sensor, at the end; None: the system does not tell
    clock_mhz: float | None = None  # of the fastest core, at the end; None: as above


class SustainedReading(Record, frozen=True, kw_only=True):
    """A run without a pause, in spells."""

    spells: tuple[Spell, ...]


class SustainedPass(Keyed, frozen=True, kw_only=True):
    """One point run for minutes, separate from the timed visits: a line of sustained.jsonl."""

    schema_version: int = SCHEMA_VERSION
    settings_key: str
    outcome: Outcome[SustainedReading]


class GenerationReading(Record, frozen=True, kw_only=True):
    """Greedy generation after a prompt; `tokens_s` and `runs_s` are of each token after the first."""

    first_token_s: Seconds  # of the prompt and the choice of the first token
    tokens_s: Times  # from token to token: run, choice, and what the loop does besides
    runs_s: Times  # the run alone


class GenerationPass(Keyed, frozen=True, kw_only=True):
    """A generation of some tokens at one depth, separate from the timed visits: a line of generation.jsonl."""

    schema_version: int = SCHEMA_VERSION
    tokens: Count
    settings_key: str
    outcome: Outcome[GenerationReading]


class MemoryReading(Record, frozen=True, kw_only=True):
    """Three processes that load and run a point: as it is, and with one thing switched off."""

    as_it_is: Reading
    without_arena: Reading
    without_prepacking: Reading


class MemoryPass(Keyed, frozen=True, kw_only=True):
    """The memory of one point taken apart by trials, separate from the timed visits: a line of memory.jsonl."""

    schema_version: int = SCHEMA_VERSION
    predicted: PredictedMemory
    settings_key: str
    outcome: Outcome[MemoryReading]


class KernelTime(Record, frozen=True, kw_only=True):
    """One matrix product alone in one process, the upper bound of the gain of int8: a line of kernels.jsonl."""

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
    """The machine of a run. `machine_id` is a digest of everything that must agree for times to be comparable."""

    schema_version: int = SCHEMA_VERSION
    machine_id: str
    cpu: str
    cpu_features: tuple[str, ...]
    architecture: str
    cores_allowed: Count
    governor: str  # "unknown" where the kernel does not report it
    memory_bytes: Count
    memory_limit_bytes: Count | None  # cgroup limit
    os: str
    versions: dict[str, str]

    @classmethod
    def unrecorded(cls, machine_id: str) -> "Machine":
        """The machine of measurements that were copied without its record: only its id is known."""
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


class Host(Record, frozen=True, kw_only=True):
    """A device of a run over several."""

    name: str  # as in --on
    machine: Machine
    packages: dict[str, str] = {}  # name -> version, of what measuring needs


class Machines(Record, frozen=True, kw_only=True):
    """The devices of a run over several: machines.json."""

    schema_version: int = SCHEMA_VERSION
    hosts: tuple[Host, ...]
