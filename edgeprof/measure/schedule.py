"""Which visits to make, and in which order.

The order is round by round, and shuffled anew within each round: whatever drifts over a run (heat, clocks, neighbours)
then falls on all points alike and does not look like a difference between models.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from edgeprof.providers.table import row_of
from edgeprof.schema import (
    CPU,
    Agreement,
    Artifact,
    FileState,
    InputValue,
    Measurement,
    OperatorPass,
    Placement,
    Record,
    Status,
    StoppingRule,
    Target,
    Workload,
)
from edgeprof.store import content_key

PREPARED = ("static", "placement", "agreement", "compiled", "compile_s", "load_plain_s")  # go into every record
SETTLED = ("ok", "unsupported")  # what failed or ran out of time is tried again when a run is taken up

CONTENTION_LIMIT = 0.03
"""A visit whose threads waited for a core longer than this share of its time tells of the machine, not the model."""

JUDGED_FROM_S = 0.15  # in less, a single wake-up of something else is a large share


class Prepared(Record, frozen=True, kw_only=True):
    """What a provider is given in place of an artifact's own file, and what is known of it before anything is timed."""

    model: str
    weights_folder: str = ""
    inputs: tuple[InputValue, ...]
    static: bool = False
    placement: Placement | None = None
    agreement: Agreement | None = None
    compiled: bool = False
    compile_s: float | None = None
    load_plain_s: float | None = None
    status: Status = "ok"  # else nothing is measured, and `error` says why
    error: str = ""

    @property
    def nodes(self) -> int:
        """That the provider has; 0 where what is loaded has others."""
        return self.placement.placed[0].nodes if self.placement and not self.compiled else 0


class Job(Record, frozen=True, kw_only=True):
    """One point to be measured: what, under which load, where, and for how long."""

    artifact: Artifact
    workload: Workload
    target: Target = CPU
    inputs: tuple[InputValue, ...]
    files: tuple[FileState, ...] = ()  # of the artifact and its inputs, as they were when digests were taken
    stopping: StoppingRule
    timeout_s: float | None = None
    compile: bool = False  # load what the provider compiled beforehand
    macs: int | None = None
    seq: int | None = None  # of a file from elsewhere: what sized it
    dims: dict[str, int] = {}  # noqa: RUF012  (msgspec copies defaults)
    fills: dict[str, str] = {}  # noqa: RUF012  (msgspec copies defaults)
    memory_predicted_bytes: int | None = None
    prepared: Prepared | None = None  # None: the artifact's own file, on the CPU provider


class Visit(Record, frozen=True, kw_only=True):
    """One job in one process."""

    job: Job
    round: int

    @property
    def settings_key(self) -> str:
        """Of all that could change a time without showing in a record's other fields."""
        target = self.job.target
        told = [] if target == CPU else [target.options, target.library, target.device, self.job.compile]
        return content_key(self.job.stopping, self.job.inputs, self.job.artifact.data_sha256, *told)[:16]

    def facts(self) -> dict[str, Any]:
        """The fields of its Measurement that are known beforehand."""
        artifact, workload, variant = self.job.artifact, self.job.workload, self.job.artifact.variant
        return {
            "variant": artifact.name,
            "family": variant.family if variant else "",
            "weights": str(artifact.weights),
            "params": artifact.params,
            "precision": str(artifact.precision),
            "provider": self.job.target.provider,
            "emulated": self.job.target.emulated,
            "device": self.job.target.device,
            "phase": workload.phase,
            "batch": workload.batch,
            "tokens": workload.tokens,
            "past_tokens": workload.past_tokens,
            "threads": workload.threads,
            "round": self.round,
            "macs": self.job.macs,
            "seq": self.job.seq,
            "dims": self.job.dims,
            "fills": self.job.fills,
            "memory_predicted_bytes": self.job.memory_predicted_bytes,
            "artifact_sha256": artifact.sha256,
            "settings_key": self.settings_key,
            "stopping": self.job.stopping,
            "provider_options": self.job.target.options,
            "provider_library": "" if row_of(self.job.target.provider) else self.job.target.library,
            **{name: getattr(self.job.prepared, name) for name in PREPARED if self.job.prepared is not None},
        }


IDENTITY = (
    "variant",
    "artifact_sha256",
    "precision",
    "provider",
    "phase",
    "batch",
    "tokens",
    "past_tokens",
    "threads",
    "settings_key",
    "round",
)


def disturbed(record: Measurement) -> bool:
    """Whether other work ran on the cores during a visit long enough to tell, so that it is worth making again."""
    reading = record.reading
    if record.emulated or reading is None or reading.contention is None or sum(reading.latencies_s) < JUDGED_FROM_S:
        return False
    return reading.contention > CONTENTION_LIMIT


def plan(jobs: Sequence[Job], rounds: int, done: Iterable[Measurement] = ()) -> list[Visit]:
    """The visits that are still to be made, in order. The same arguments always give the same order.

    A visit that `done` holds as failed or timed out is made again; its later record is then the one that counts.
    """
    seen = {tuple(getattr(record, name) for name in IDENTITY) for record in done if record.status in SETTLED}
    visits = []
    for number in range(rounds):
        order = list(jobs)
        random.Random(number).shuffle(order)
        for job in order:
            visit = Visit(job=job, round=number)
            facts = visit.facts()
            key = tuple(facts[name] for name in IDENTITY)
            if key not in seen:
                seen.add(key)
                visits.append(visit)
    return visits


def plan_operators(visits: Sequence[Visit], done: Iterable[OperatorPass] = ()) -> list[Visit]:
    """Of visits that each profile one point, those that are still to be made."""
    names = tuple(name for name in IDENTITY if name != "round")
    seen = {tuple(getattr(record, name) for name in names) for record in done if record.status in SETTLED}
    return [visit for visit in visits if tuple(visit.facts()[name] for name in names) not in seen]
