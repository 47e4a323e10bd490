"""Operator times of a point, from the profiler of the runtime; and of a matrix product alone."""

from typing import Literal

from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds, Times
from edgeprof.schema.measurement import Keyed, Outcome, Status, require_reading
from edgeprof.schema.models import QuantReceipt


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
        require_reading(self.status, self.median_s)
