"""The records that cross every boundary: between rooms, between processes, and to disk.

All are frozen, all carry their units in their names. Raw values are stored; statistics are derived
(`edgeprof.analysis`). SCHEMA_VERSION grows whenever a reader of old files would misread a new one.
"""

from typing import Any, Literal, TypeVar

import msgspec

from edgeprof.errors import EdgeprofError, RunError

SCHEMA_VERSION = 1

Phase = Literal["prefill", "decode"]
Logits = Literal["all", "last"]
Status = Literal["ok", "failed", "timeout", "unsupported"]
Verdict = Literal["confirmed", "confirmed with a correction", "wrong", "not shown"]
Fill = Literal["token_ids", "ones", "zeros", "positions", "normal", "file"]


class Record(msgspec.Struct, frozen=True):
    """Base of all records: immutable, compared by value."""


# --- what a model is ---------------------------------------------------------------------------------


class Variant(Record, frozen=True, kw_only=True):
    """One transformer: a row of a family's table, or a checkpoint.

    `config` holds what its family needs to know of it: for most, keyword arguments of a `transformers` configuration.
    """

    name: str
    family: str
    task: str
    config: dict[str, Any]
    max_tokens: int | None  # None: any number (position embedding is interpolated)
    source: str | None = None  # hub repository or checkpoint folder that holds the weights


class TensorSpec(Record, frozen=True, kw_only=True):
    name: str
    dtype: str  # numpy's name: "int64", "float32"
    dims: tuple[int | str, ...]  # a fixed size, or the symbol of a dynamic one


# --- what was made of it -----------------------------------------------------------------------------


class Case(Record, frozen=True, kw_only=True):
    """One shape at which outputs are compared."""

    batch: int
    tokens: int
    past_tokens: int = 0


class Check(Record, frozen=True, kw_only=True):
    """How far the outputs of an ONNX file are from the PyTorch model's, at one shape."""

    case: Case
    max_abs_error: float
    cosine: float  # the smallest over the outputs


class GraphCount(Record, frozen=True, kw_only=True):
    nodes: dict[str, int]  # operator type -> how many
    weights_bytes: int

    @property
    def node_total(self) -> int:
        return sum(self.nodes.values())


class StageReceipt(Record, frozen=True, kw_only=True):
    """What one stage did, or why its result was not kept."""

    stage: str
    kept: bool
    before: GraphCount
    after: GraphCount
    reason: str = ""  # why the result was not kept
    seconds: float = 0.0


class Left(Record, frozen=True, kw_only=True):
    """A matmul whose weight a recipe did not reach."""

    weight: str  # name of the initializer
    bytes: int  # of it, in the source
    reason: str


class Calibration(Record, frozen=True, kw_only=True):
    """What the ranges of activations were taken from."""

    data: str  # in words: "text that edgeprof ships, tokenized by minilm"
    samples: int
    lengths: tuple[int, ...] = ()  # token lengths that occur among them; none for images
    method: str = ""  # "min-max" | "entropy" | "percentile"; "" where the recipe has no choice
    random: bool = False  # made-up values: ranges mean nothing for real inputs


class QuantReceipt(Record, frozen=True, kw_only=True):
    """How much of the weights a recipe reached: matmuls with constant weights, and the bytes of those."""

    matmuls: int
    matmuls_quantized: int
    weight_bytes: int  # of all weight matmuls, as they were in the source
    weight_bytes_quantized: int
    left: tuple[Left, ...] = ()
    kept_fp32: dict[str, int] = {}  # of fp16 and bf16: operator type -> nodes that go on computing in fp32
    shared: int = 0  # embeddings that read the matrix of the LM head they are tied to
    tables: int = 0  # tables that are only looked up, in blocks of 8 bits
    calibration: Calibration | None = None


class Limits(Record, frozen=True, kw_only=True):
    """What a recipe may cost in accuracy before `export` warns."""

    cosine: float  # mean cosine to the fp32 output, at least
    top1: float  # share of equal first choices, at least
    kl: float  # nats per prediction, at most
    perplexity: float  # ratio to that of fp32, at most


class Accuracy(Record, frozen=True, kw_only=True):
    """How far a file is from the fp32 one on data that means something. What does not fit the task is None."""

    task: Literal["embedding", "next token", "classification"]
    data: str  # in words, as in Calibration
    samples: int  # sequences or images
    predictions: int  # vectors that were compared: sentences, tokens, images
    cosine_mean: float
    cosine_min: float
    max_rel_error: float  # largest difference over the largest value of the same vector
    kl: float | None = None  # Kullback-Leibler divergence from fp32, nats per prediction
    top1: float | None = None  # share of predictions with the same first choice
    perplexity_fp32: float | None = None
    perplexity: float | None = None
    beyond: tuple[str, ...] = ()  # limits that are passed, in words


class Fusion(Record, frozen=True, kw_only=True):
    """One kind of fused operator: how many of it a model of this family runs, and how many were found."""

    operator: str
    expected: int
    found: int


class FusionReceipt(Record, frozen=True, kw_only=True):
    """The graph that onnxruntime makes of a file at load, with the optimizations it runs with."""

    runtime: str  # "onnxruntime 1.32.0"
    nodes: dict[str, int]  # operator type -> how many
    fusions: tuple[Fusion, ...] = ()
    note: str = ""  # why something is expected less often than there are blocks


class Artifact(Record, frozen=True, kw_only=True):
    """An ONNX file and all that is known of it; `artifact.json` beside the file."""

    schema_version: int = SCHEMA_VERSION
    name: str  # the folder below models/
    path: str  # of the .onnx file: a bare file name on disk, absolute once loaded
    precision: str
    sha256: str  # of the graph file; `data_sha256` of the weights beside it
    data_sha256: str = ""
    data_bytes: int = 0
    key: str = ""  # content key of everything that went into it
    variant: Variant | None = None  # None: a file nobody here exported
    logits: Logits = "all"
    params: int  # counted in PyTorch at export, tied tensors once; from the initializers of foreign files
    weights: str  # "pretrained (...)" | "random (seed N)" | "file"
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    count: GraphCount
    checks: tuple[Check, ...] = ()
    stages: tuple[StageReceipt, ...] = ()
    quantization: QuantReceipt | None = None
    fusion: FusionReceipt | None = None
    accuracy: Accuracy | None = None
    accuracy_note: str = ""  # why there is no accuracy statement, or what it does not cover
    versions: dict[str, str] = {}


# --- what it costs, counted --------------------------------------------------------------------------


class Cost(Record, frozen=True, kw_only=True):
    """What all occurrences of one kind of component cost together, in one run at one shape."""

    name: str
    count: int  # occurrences
    in_block: bool = False  # as many in every block
    params: int = 0
    macs: int = 0  # 1 MAC = 2 FLOP
    weights_bytes: int = 0
    cache_bytes: int = 0  # KV cache at the end of the run
    activation_bytes: int = 0  # written by it


class Uncounted(Record, frozen=True, kw_only=True):
    """Nodes of a graph whose MACs are not known."""

    operator: str
    count: int
    reason: str


class Ledger(Record, frozen=True, kw_only=True):
    """Where parameters, MACs and bytes of one model come from, at one shape."""

    name: str
    source: Literal["formulas", "graph"]
    precision: str
    phase: Phase
    batch: int
    tokens: int
    past_tokens: int = 0
    layers: int | None = None  # number of blocks; None: not known (a graph)
    costs: tuple[Cost, ...]
    live_bytes: int  # the most activations alive at once: formulas leave the KV cache out, a graph has all tensors
    live_at: str  # where that is
    working_bytes: int | None = None  # what onnxruntime is predicted to hold beside weights; of graphs
    uncounted: tuple[Uncounted, ...] = ()

    def total(self, quantity: str) -> int:
        """The sum over all components of a field of Cost."""
        return sum(getattr(cost, quantity) for cost in self.costs)

    def of(self, *names: str) -> Cost:
        """Several components as one."""
        chosen = [cost for cost in self.costs if cost.name in names]
        sums = ("params", "macs", "weights_bytes", "cache_bytes", "activation_bytes")
        return Cost(
            name=" and ".join(names),
            count=sum(cost.count for cost in chosen),
            **{quantity: sum(getattr(cost, quantity) for cost in chosen) for quantity in sums},
        )

    @property
    def length(self) -> int:
        """The token length on every axis: tokens at once in prefill, tokens cached in decode."""
        return self.past_tokens if self.phase == "decode" else self.tokens


class Crossover(Record, frozen=True, kw_only=True):
    """The shortest token length from which one part outweighs another: "the KV cache", "the weights", "bytes"."""

    larger: str
    smaller: str
    quantity: Literal["MACs", "bytes"]
    tokens: int | None  # None: at no length


class Explanation(Record, frozen=True, kw_only=True):
    """What `edgeprof explain` tells of one model."""

    ledger: Ledger
    doubled: Ledger | None = None  # at twice the token length; None: the length of a file is fixed
    crossovers: tuple[Crossover, ...] = ()
    lengths: tuple[Ledger, ...] = ()  # the same over token lengths
    notes: tuple[str, ...] = ()
    captions: dict[str, str] = {}  # name of a figure -> what it shows (`edgeprof.analysis.counted`)


# --- what is asked of a child, and what it answers ----------------------------------------------------


class InputValue(Record, frozen=True, kw_only=True):
    """A tensor the child makes (or reads from `file`), so that requests stay small."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    fill: Fill
    start: int = 0  # "positions" count from here
    high: int = 2  # "token_ids" are drawn below this
    file: str = ""
    sha256: str = ""  # of the file


class StoppingRule(Record, frozen=True, kw_only=True):
    """Timed runs go on until both minima are met, or `max_time_s` has passed."""

    min_runs: int = 10
    min_time_s: float = 1.0
    max_time_s: float = 60.0


class Workload(Record, frozen=True, kw_only=True):
    phase: Phase
    batch: int
    tokens: int  # processed in one run
    past_tokens: int = 0  # already in the KV cache
    threads: int


class Request(Record, frozen=True, kw_only=True):
    """What one measuring child reads."""

    model: str
    provider: str
    threads: int
    inputs: tuple[InputValue, ...]
    stopping: StoppingRule


class Reading(Record, frozen=True, kw_only=True):
    """What one measuring child saw. Seconds from a monotonic clock, bytes from the kernel."""

    providers_active: tuple[str, ...]
    load_s: float
    first_run_s: float
    warmup_runs: int
    latencies_s: tuple[float, ...]
    memory_imports_bytes: int  # resident with interpreter and runtime loaded, no model
    memory_loaded_bytes: int  # resident once the session exists; inputs (the KV cache!) come later
    memory_loaded_file_bytes: int  # the part of it that maps files: the OS can take it back
    memory_load_peak_bytes: int  # highest resident set up to here
    memory_run_peak_bytes: int  # highest resident set of the runs, inputs included
    memory_run_file_bytes: int | None = None  # files mapped after the runs: weights that they were first to touch
    contention: float | None = None  # share of the timed runs that threads were ready and had no core; None: unknown


class Measurement(Record, frozen=True, kw_only=True):
    """One visit of one point in one process: a line of measurements.jsonl."""

    schema_version: int = SCHEMA_VERSION
    variant: str
    family: str
    weights: str
    params: int
    precision: str
    provider: str
    phase: Phase
    batch: int
    tokens: int
    past_tokens: int
    threads: int
    round: int
    status: Status
    error: str = ""
    reading: Reading | None = None  # there when status is "ok"
    macs: int | None = None
    memory_predicted_bytes: int | None = None  # working memory, counted on the graph
    emulated: bool = False  # the provider emulates its device: the path is proven, the time means nothing
    artifact_sha256: str
    settings_key: str  # of stopping rule and inputs: what else a repeated visit must share
    machine_id: str
    started_at: str  # ISO 8601, UTC


class OperatorTime(Record, frozen=True, kw_only=True):
    """All nodes of one operator type in one run: the median over profiled runs of the sum of their times."""

    operator: str  # the runtime's name for it, without its domain
    nodes: int
    time_s: float


class MatrixTime(Record, frozen=True, kw_only=True):
    """Nodes that multiply matrices of one shape in one way; as OperatorTime, told apart."""

    operator: str
    dtype: str  # of the first factor, as the runtime writes it: "float", "float16", "uint8"
    inner: int  # columns of the first factor
    columns: int  # of the result
    second: Literal["constant", "computed", "activation"]  # "computed": a matrix that was made anew in this run
    nodes: int
    time_s: float


class OperatorReading(Record, frozen=True, kw_only=True):
    """What the runtime's profiler saw in one child, and how long the same child's runs took with and without it."""

    operators: tuple[OperatorTime, ...]  # the longest time first
    matrices: tuple[MatrixTime, ...]
    profiled_latencies_s: tuple[float, ...]
    latencies_s: tuple[float, ...]  # of runs after the profiler was stopped


class OperatorPass(Record, frozen=True, kw_only=True):
    """One point with the profiler on, apart from all timed visits: a line of operators.jsonl."""

    schema_version: int = SCHEMA_VERSION
    variant: str
    precision: str
    provider: str
    phase: Phase
    batch: int
    tokens: int
    past_tokens: int
    threads: int
    status: Status
    error: str = ""
    reading: OperatorReading | None = None  # there when status is "ok"
    vocabulary: int | None = None  # columns of the logits, where the file says how many
    quantization: QuantReceipt | None = None  # of the artifact
    artifact_sha256: str
    settings_key: str
    machine_id: str
    started_at: str

    @property
    def length(self) -> int:
        """The token length on every axis: tokens at once in prefill, tokens cached in decode."""
        return self.past_tokens if self.phase == "decode" else self.tokens


class KernelTime(Record, frozen=True, kw_only=True):
    """One matrix product alone in one process: a line of kernels.jsonl. What int8 can gain on this machine at most."""

    schema_version: int = SCHEMA_VERSION
    precision: Literal["fp32", "int8"]
    tokens: int  # rows of the first factor
    width: int  # the second factor is width x width, and constant
    threads: int
    round: int
    status: Status
    error: str = ""
    median_s: float | None = None
    machine_id: str
    started_at: str


class Machine(Record, frozen=True, kw_only=True):
    """Where a run was made. `machine_id` is a digest of what must agree for times to be comparable."""

    machine_id: str
    cpu: str
    cpu_features: tuple[str, ...]
    architecture: str
    cores_allowed: int
    governor: str  # "unknown" where the kernel does not tell
    memory_bytes: int
    memory_limit_bytes: int | None  # cgroup limit
    os: str
    versions: dict[str, str]


# --- what is derived ----------------------------------------------------------------------------------


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
    tokens: int
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

    @property
    def length(self) -> int:
        """The token length on every axis: tokens at once in prefill, tokens cached in decode."""
        return self.past_tokens if self.phase == "decode" else self.tokens


class Findings(Record, frozen=True, kw_only=True):
    """What the points say, in sentences computed from them (`edgeprof.analysis.sentences`)."""

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


class Place(Record, frozen=True, kw_only=True):
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
    places: tuple[Place, ...]  # prefill first, shortest length first
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


T = TypeVar("T")


def encode(record: Record) -> bytes:
    return msgspec.json.encode(record)


def encode_pretty(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes, kind: type[T], origin: str, error: type[EdgeprofError] = RunError) -> T:
    """Read one record; a record that does not fit its type is refused with the place it came from."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as problem:
        raise error(
            f"{origin} does not hold a valid {kind.__name__} record ({problem}).",
            "It was written by another version of edgeprof or damaged: make it again.",
        ) from problem
