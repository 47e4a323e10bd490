"""The request to a measuring worker, and its reading."""

from typing import Literal

from edgeprof.schema.base import Count, Record, Seconds, Times
from edgeprof.schema.placement import CPU, Target

Fill = Literal["token_ids", "ones", "zeros", "value", "positions", "normal", "uniform", "strings", "file"]


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


class FileState(Record, frozen=True, kw_only=True):
    """The state of a file: it changes when the file is written or replaced."""

    path: str
    size: int
    mtime_ns: int
    inode: int


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
