"""Which visits to make, and in which order.

The order is round by round, and shuffled anew within each round: whatever drifts over a run (heat, clocks, neighbours)
then falls on all points alike and does not look like a difference between models.
"""

import random
from collections.abc import Iterable, Sequence

from edgeprof.schema import (
    CPU,
    Facts,
    FileState,
    Graph,
    InputValue,
    Measurement,
    OperatorPass,
    Place,
    PointKey,
    ProviderReceipt,
    Record,
    Status,
    StoppingRule,
    Target,
)
from edgeprof.store import content_key

SETTLED = ("ok", "unsupported")  # a point that failed or timed out is visited again when its run is resumed

CONTENTION_LIMIT = 0.03
"""A visit whose threads waited for a core longer than this share of its time measures the machine, not the model."""

JUDGED_FROM_S = 0.15  # in less, a single wake-up of something else is a large share


class Prepared(Record, frozen=True, kw_only=True):
    """What a provider is given in place of a graph, and its receipt."""

    model: str
    weights_folder: str = ""
    inputs: tuple[InputValue, ...]
    receipt: ProviderReceipt = ProviderReceipt()
    status: Status = "ok"  # else nothing is measured, and `error` says why
    error: str = ""

    @property
    def nodes(self) -> int:
        """Nodes on the provider; 0 where the graph that is loaded has others."""
        receipt = self.receipt
        return receipt.placement.placed[0].nodes if receipt.placement and not receipt.compiled else 0


class Job(Record, frozen=True, kw_only=True):
    """One point to be measured: its key, the files and inputs it takes, and for how long."""

    key: PointKey
    facts: Facts
    graph: Graph
    data_sha256: str = ""  # of the weights beside it
    target: Target = CPU
    inputs: tuple[InputValue, ...]
    files: tuple[FileState, ...] = ()  # of graph, weights and inputs, as they were when digests were computed
    stopping: StoppingRule
    timeout_s: float | None = None
    compile: bool = False  # load what the provider compiled beforehand
    prepared: Prepared | None = None  # None: the graph itself, on the CPU provider

    @property
    def settings_key(self) -> str:
        """A digest of everything that could change a time without showing in the key of the point."""
        target = self.target
        of_provider = [] if target.is_cpu else [target.options, target.library, target.device, self.compile]
        return content_key(self.stopping, self.inputs, self.data_sha256, *of_provider)[:16]


class Visit(Record, frozen=True, kw_only=True):
    """One job in one process."""

    job: Job
    round: int


def place_of(target: Target, machine_id: str, threads: int) -> Place:
    """Where a target is, on a machine."""
    return Place(
        machine_id=machine_id,
        provider=target.provider,
        options=tuple(sorted(target.options.items())),
        library=target.custom_library,
        device=target.device,
        emulated=target.emulated,
        threads=threads,
    )


def disturbed(record: Measurement) -> bool:
    """Whether other work ran on the cores during a visit long enough to tell, so that it is worth repeating."""
    reading = record.outcome.reading
    if record.place.emulated or reading is None or reading.contention is None:
        return False
    return sum(reading.latencies_s) >= JUDGED_FROM_S and reading.contention > CONTENTION_LIMIT


def plan(jobs: Sequence[Job], rounds: int, done: Iterable[Measurement] = ()) -> list[Visit]:
    """The visits that are still to be made, in order. The same arguments always give the same order.

    A visit that `done` holds as failed or timed out is made again; its later record is then the one that counts.
    """
    seen = {(one.key, one.settings_key, one.round) for one in done if one.outcome.status in SETTLED}
    visits = []
    for number in range(rounds):
        order = list(jobs)
        random.Random(number).shuffle(order)
        for job in order:
            identity = (job.key, job.settings_key, number)
            if identity not in seen:
                seen.add(identity)
                visits.append(Visit(job=job, round=number))
    return visits


def plan_operators(jobs: Sequence[Job], done: Iterable[OperatorPass] = ()) -> list[Job]:
    """Of jobs that each profile one point, those that are still to be done."""
    seen = {(one.key, one.settings_key) for one in done if one.outcome.status in SETTLED}
    return [job for job in jobs if (job.key, job.settings_key) not in seen]
