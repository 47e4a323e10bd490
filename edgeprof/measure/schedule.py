"""Plan the visits of a run, and their order.

Visits are ordered by round and shuffled within each round, so that drift over a run (heat, clocks, neighbours) affects
all points alike and does not look like a difference between models.
"""

import random
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from edgeprof.schema import (
    CPU,
    Facts,
    FileState,
    GenerationPass,
    Goal,
    Graph,
    InputValue,
    Measurement,
    MemoryLimit,
    MemoryPass,
    OperatorPass,
    Place,
    PointKey,
    ProviderReceipt,
    Record,
    Status,
    StoppingRule,
    SustainedPass,
    Target,
)
from edgeprof.store import content_key

Pass = OperatorPass | SustainedPass | GenerationPass | MemoryPass

SETTLED = ("ok", "out of memory", "unsupported")  # visits with another status are repeated when a run is resumed


class Prepared(Record, frozen=True, kw_only=True):
    """The graph and inputs prepared for a provider, and the receipt."""

    model: str
    weights_folder: str = ""
    inputs: tuple[InputValue, ...]
    receipt: ProviderReceipt = ProviderReceipt()
    status: Status = "ok"  # otherwise the point is not measured, and `error` is the reason
    error: str = ""

    @property
    def nodes(self) -> int:
        """Nodes on the provider; 0 where the loaded graph was compiled and has other nodes."""
        receipt = self.receipt
        return receipt.placement.placed[0].nodes if receipt.placement and not receipt.compiled else 0


class Job(Record, frozen=True, kw_only=True):
    """One point to measure: its key, its files and inputs, and its stopping rule."""

    key: PointKey
    facts: Facts
    graph: Graph
    data_sha256: str = ""  # of the weights beside it
    target: Target = CPU
    inputs: tuple[InputValue, ...]
    files: tuple[FileState, ...] = ()  # of graph, weights and inputs, when their digests were computed
    stopping: StoppingRule
    timeout_s: float | None = None
    memory_limit: MemoryLimit | None = None
    compile: bool = False  # load the result of ahead-of-time compilation
    prepared: Prepared | None = None  # None: the graph itself, on the CPU provider

    @property
    def settings_key(self) -> str:
        """A digest of everything besides the key of the point that could change its latency."""
        target = self.target
        of_provider = [] if target.is_cpu else [target.options, target.library, target.device, self.compile]
        limit = [self.memory_limit] if self.memory_limit else []
        return content_key(self.stopping, self.inputs, self.data_sha256, *of_provider, *limit)[:16]


class Visit(Record, frozen=True, kw_only=True):
    """One job in one process."""

    job: Job
    round: int
    goal: Goal = Goal()
    stretch: float = 1.0  # times as many runs and seconds as the job's stopping rule asks for


def place_of(target: Target, machine_id: str, threads: int, host: str = "") -> Place:
    """The place of a target on a machine; `host`: its name in a run over several."""
    return Place(
        machine_id=machine_id,
        host=host,
        provider=target.provider,
        runtime=target.runtime,
        options=tuple(sorted(target.options.items())),
        library=target.custom_library,
        device=target.device,
        emulated=target.emulated,
        threads=threads,
    )


def facts_on(target: Target, facts: Facts) -> Facts:
    """Memory is predicted for the CPU provider, and what is copied of a cache is known of onnxruntime."""
    if target.is_cpu:
        return facts
    copied = 0 if target.is_baseline else facts.cache_copied_bytes
    return replace(
        facts, memory_predicted_bytes=None, memory=None, cache_copied_bytes=copied, ep_options=target.ep_options
    )


def on_target(job: Job, target: Target, place: Place) -> Job:
    """A job of the CPU provider on another provider, or on another machine."""
    return replace(job, key=replace(job.key, place=place), facts=facts_on(target, job.facts), target=target)


def _identity(one: Job | Measurement | Pass) -> tuple[PointKey, str, str]:
    """Equal for visits that need not be repeated: the digests say which weights and options they are of."""
    key = one.key
    return key.lasting, key.subject.digest, one.settings_key


def of_job(job: Job, done: Iterable[Measurement]) -> list[Measurement]:
    """The visits that were of this job, with the same files and settings."""
    identity = _identity(job)
    return [record for record in done if _identity(record) == identity]


def plan(jobs: Sequence[Job], round: int, done: Iterable[Measurement], goal: Goal) -> list[Visit]:
    """Plan the remaining visits of one round; the same arguments always give the same order.

    A visit that failed or timed out in `done` is repeated; its later record then counts.
    """
    settled = {_identity(record) for record in done if record.round == round and record.outcome.status in SETTLED}
    order = list({_identity(job): job for job in jobs}.values())
    random.Random(round).shuffle(order)
    return [Visit(job=job, round=round, goal=goal) for job in order if _identity(job) not in settled]


def plan_passes(jobs: Sequence[Job], done: Iterable[Pass] = ()) -> list[Job]:
    """The jobs whose points have no successful pass yet."""
    settled = {_identity(record) for record in done if record.outcome.status in SETTLED}
    return [job for job in jobs if _identity(job) not in settled]
