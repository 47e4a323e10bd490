"""What this device can do, measured through onnxruntime: single operators at known shapes."""

from typing import Annotated

import msgspec

from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds
from edgeprof.schema.machine import Machine
from edgeprof.schema.memory import WINDOW_BYTES
from edgeprof.schema.worker import Canaries, InputValue, StoppingRule

EDITION = 5
"""Of what is measured: an earlier one lacks what a prediction needs, and is measured again."""

Levels = tuple[Annotated[float, msgspec.Meta(gt=0, le=1e9)], ...]


class Work(Record, frozen=True, kw_only=True):
    """One operator at one shape. Amounts are of one run, of all `nodes` together."""

    operator: str  # name in the runtime, without its domain; "chain": small nodes; "mixed chain": products, too
    precision: str  # of the weights, or of the tensors: the name of a recipe
    sizes: dict[str, Count]  # rows, inner, columns, matrices; tokens, past_tokens, heads, head_size; elements; products
    nodes: Count = 1
    macs: Count = 0
    weights_bytes: Count = 0  # as stored
    activation_bytes: Count = 0  # read and written


class WorkTask(Record, frozen=True, kw_only=True):
    """A file with the nodes of some work, and its inputs."""

    model: str
    inputs: tuple[InputValue, ...]
    shared_tokens: Count = 0  # size of the buffers that are past and present of a KV cache at once


class WorkRequest(Record, frozen=True, kw_only=True):
    """Tasks of one process, in turn; each has a session of its own, closed before the next one."""

    tasks: tuple[WorkTask, ...]
    threads: int
    stopping: StoppingRule


class TaskReading(Record, frozen=True, kw_only=True):
    latencies_s: Levels = ()
    error: str = ""  # why there are none


class WorkReading(Record, frozen=True, kw_only=True):
    tasks: tuple[TaskReading, ...]  # in the order of the request
    canaries: tuple[Canaries, ...] = ()  # before the first task, and after the last


class WorkTime(Record, frozen=True, kw_only=True):
    """Work and the time of a run of it. Each visit is a process of its own."""

    work: Work
    best_s: Levels = ()  # of each visit: the fast level that lasted, its first decile
    medians_s: Levels = ()  # of each visit
    error: str = ""  # why there are none


class SessionMemory(Record, frozen=True, kw_only=True):
    """What a session takes beyond interpreter and runtime."""

    precision: str  # of its one product; "": a session of a few small nodes
    file_bytes: Count  # of the file that it was loaded from
    loaded_bytes: Count  # resident growth at load
    run_bytes: Count  # highest resident growth of the runs beyond load


class Probe(Record, frozen=True, kw_only=True):
    """The ceilings of one machine at one number of threads; a file of its own that can be mailed."""

    schema_version: int = SCHEMA_VERSION
    edition: Count = 1  # see EDITION
    machine: Machine
    provider: str = "cpu"
    threads: Count
    started_at: str  # ISO 8601, UTC
    took_s: Seconds
    imports_bytes: Count  # resident with interpreter and runtime loaded, no model
    window_bytes: Count = WINDOW_BYTES  # of a mapped file, that come into memory when one is read
    memory: tuple[SessionMemory, ...]
    times: tuple[WorkTime, ...]
    canaries: tuple[Canaries, ...] = ()
    notes: tuple[str, ...] = ()  # what spoils the numbers


class Ceiling(Record, frozen=True, kw_only=True):
    """The most that this device gives of something, with a 95 % interval."""

    value: float
    low: float
    high: float
    work: Work | None = None  # that reached it


class Ceilings(Record, frozen=True, kw_only=True):
    """What a probe says of a device in a few numbers (`edgeprof.analysis.roofline`)."""

    products: dict[str, Ceiling]  # MAC/s by precision
    attention: Ceiling | None  # MAC/s
    memory: Ceiling  # byte/s, of tensors larger than caches
    vectors: dict[str, Ceiling]  # MAC/s by precision, of a large matrix and one vector
    node: Ceiling  # seconds that each node takes besides its work
    run: Ceiling  # seconds that each run takes besides its nodes
