from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from builders.records import changed
from toys import QUICK, make_job, x

from edgeprof.measure import schedule
from edgeprof.measure.schedule import Job, Visit
from edgeprof.schema import Goal, Measurement, Outcome, Reading, Status, Target

REPLACE = msgspec.structs.replace


def jobs(lengths: range = range(1, 7)) -> list[Job]:
    return [make_job(Path("toy.onnx"), (x(1, n, 8),), tokens=n, macs=n * 128) for n in lengths]


SEEN = Reading(
    providers_active=("CPUExecutionProvider",),
    load_s=0.1,
    first_run_s=0.1,
    warmup_runs=1,
    latencies_s=(0.01,),
    memory_imports_bytes=1,
    memory_loaded_bytes=2,
    memory_loaded_file_bytes=0,
    memory_load_peak_bytes=2,
    memory_run_peak_bytes=3,
)


def plan(jobs: Sequence[Job], rounds: int, done: Sequence[Measurement] = ()) -> list[Visit]:
    return [visit for number in range(rounds) for visit in schedule.plan(jobs, number, done, Goal())]


def record(visit: Visit, status: Status = "ok") -> Measurement:
    job, reading = visit.job, SEEN if status == "ok" else None
    return Measurement(
        key=job.key,
        round=visit.round,
        facts=job.facts,
        settings_key=job.settings_key,
        outcome=Outcome(status=status, reading=reading, started_at="2026-01-01T00:00:00+00:00"),
    )


def test_each_round_visits_every_job_once_before_the_next_begins() -> None:
    visits = plan(jobs(), rounds=3)
    assert [visit.round for visit in visits] == [0] * 6 + [1] * 6 + [2] * 6
    assert all(count == 1 for count in Counter((v.round, v.job.key.load.tokens) for v in visits).values())


def test_the_order_is_shuffled_differently_in_each_round_and_alike_in_each_run() -> None:
    orders = [[v.job.key.load.tokens for v in plan(jobs(), 3) if v.round == number] for number in range(3)]
    assert len({tuple(order) for order in [*orders, [1, 2, 3, 4, 5, 6]]}) == 4
    assert plan(jobs(), 3) == plan(jobs(), 3)


def test_what_is_recorded_is_skipped_and_the_rest_keeps_its_order() -> None:
    visits = plan(jobs(), 3)
    assert plan(jobs(), 3, [record(visit) for visit in visits[:8]]) == visits[8:]
    assert plan(jobs(), 4, [record(visit) for visit in visits]) == [v for v in plan(jobs(), 4) if v.round == 3]


def test_failures_are_tried_again_but_not_what_a_provider_does_not_support() -> None:
    first, *others = plan(jobs(), 1)
    done = [record(visit) for visit in others]
    assert plan(jobs(), 1, [*done, record(first, "failed")]) == [first]
    assert plan(jobs(), 1, [*done, record(first, "timeout")]) == [first]
    assert plan(jobs(), 1, [*done, record(first, "unsupported")]) == []


def test_a_visit_is_another_one_when_anything_that_may_change_its_time_differs() -> None:
    (job,) = jobs(range(1, 2))
    done = [record(visit) for visit in plan([job], 1)]
    others = [
        changed(job, variant="toy-2"),  # a copy of the same file
        changed(job, digest="b" * 64),
        REPLACE(job, data_sha256="b" * 64),
        changed(job, precision="int8"),
        changed(job, provider="webgpu", target=Target(provider="webgpu")),
        changed(job, threads=2),
        changed(job, phase="decode", past_tokens=1),
        REPLACE(job, stopping=REPLACE(QUICK, min_runs=4)),
        REPLACE(job, inputs=(x(1, 1, 4),)),
    ]
    assert [visit.job for visit in plan(others, 1, done)] == [visit.job for visit in plan(others, 1)]
    same = [REPLACE(job, graph=REPLACE(job.graph, path="elsewhere.onnx")), REPLACE(job, timeout_s=9.0)]
    assert plan(same, 1, done) == []


def test_a_job_requested_twice_is_visited_once() -> None:
    (job,) = jobs(range(1, 2))
    assert plan([job, job], 2) == plan([job], 2)


def test_a_foreign_file_is_recorded_under_its_own_name() -> None:
    (job,) = jobs(range(3, 4))
    (visit,) = plan([job], 1)
    key, facts = visit.job.key, visit.job.facts
    assert (key.subject.model, facts.family, key.load.tokens, facts.macs) == ("toy", "", 3, 384)
