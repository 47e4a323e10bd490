"""What commands go through. Each ordeal takes a folder with bert-tiny in it, yields what happened at every try, and
raises an AssertionError or an EdgeprofError where something finished was lost, or a command did not take it up again.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeprof import store
from tests.torture.commands import (
    VISITS,
    Words,
    content,
    export,
    faults_of,
    killed,
    litter,
    profile,
    quantize,
    start,
    wait_until,
    whole,
)

Outcomes = Iterator[str]


def kills_of_export(at: Path, tries: int) -> Outcomes:
    """`export` of a target that stands (`--force`) and of one that does not, killed at random moments."""
    yield from _kills_of_making(at, export(at), "fp32", tries)


def kills_of_quantize(at: Path, tries: int) -> Outcomes:
    """`quantize`, in the same way."""
    yield from _kills_of_making(at, quantize(at), "int8", tries)


def _kills_of_making(at: Path, words: Words, precision: str, tries: int) -> Outcomes:
    home = at / "models" / "bert-tiny"
    within_s = whole(at, (*words, "--force"))
    for number in range(tries):
        fresh = number % 2 == 0
        if fresh:
            shutil.rmtree(home / precision)
        how = killed(at, (*words, "--force"), within_s)
        assert not faults_of(home / precision)
        if not fresh:
            assert (home / precision).is_dir(), f"{precision} was lost"
        elif number % 4 == 0 or not (home / precision).is_dir():
            whole(at, words)
            assert not faults_of(home / precision)
        yield how.name if how else "was faster"
    whole(at, (*words, "--force"))
    whole(at, ("verify", home / precision))
    assert not litter(home, ("fp32", "int8"))


def kills_of_profile(at: Path, tries: int) -> Outcomes:
    """`profile`, killed and taken up again until it is whole, and again from the start."""
    run = at / "reports" / "run"
    within_s = whole(at, profile(at))
    shutil.rmtree(run)
    for _ in range(tries):
        before = _whole_lines(run)
        if before.count(b"\n") == VISITS:
            shutil.rmtree(run)
            before = b""
        how = killed(at, profile(at), within_s)
        after = _whole_lines(run)
        assert after.startswith(before), "records were lost or changed"
        if run.is_dir():
            store.load_records(run)
        yield how.name if how else "was faster"
    whole(at, profile(at))
    records = store.load_records(run).measurements
    assert len({(one.tokens, one.round) for one in records}) == len(records) == VISITS
    assert not litter(run, ("machine.json", "measurements.jsonl", "measurements.csv"))
    assert not litter(at / "reports", ("run",))


def _whole_lines(run: Path) -> bytes:
    file = run / store.MEASUREMENTS_FILE
    data = file.read_bytes() if file.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def two_profiles(at: Path, tries: int) -> Outcomes:
    """Two `profile` of one name, a random moment apart: one refuses, or finds all done."""
    for _ in range(tries):
        shutil.rmtree(at / "reports", ignore_errors=True)
        outcomes = _both(at, profile(at))
        records = store.load_records(at / "reports" / "run").measurements
        assert len({(one.tokens, one.round) for one in records}) == len(records) == VISITS
        assert sorted(code for code, _ in outcomes) in ([0, 0], [0, 1]), outcomes
        refusals = [message for code, message in outcomes if code]
        assert all("is being written by process" in message for message in refusals), refusals
        yield "one refused" if refusals else "one after the other"


def two_exports(at: Path, tries: int) -> Outcomes:
    """Two `export` of one target: one makes it, the other waits and finds it up to date."""
    home = at / "models" / "bert-tiny"
    for _ in range(tries):
        shutil.rmtree(home)
        outcomes = _both(at, export(at))
        assert [code for code, _ in outcomes] == [0, 0], outcomes
        assert not faults_of(home / "fp32")
        assert not litter(home, ("fp32",))
        yield "made once"
    whole(at, quantize(at))


def _both(at: Path, words: Words) -> list[tuple[int, str]]:
    first = start(at, words)
    time.sleep(random.uniform(0.0, 1.5))
    both = [first, start(at, words)]
    message = [running.communicate(timeout=600)[1] for running in both]
    return [(running.returncode, text) for running, text in zip(both, message, strict=True)]


def full_disks(at: Path, tries: int) -> Outcomes:
    """Files that may not grow beyond a random size: one sentence, and what stood there stays."""
    commands: dict[str, Callable[[Path], Words]] = {"export": export, "quantize": quantize}
    for number in range(tries):
        name = sorted(commands)[number % 2]
        before = content(at / "models")
        running = start(at, (*commands[name](at), "--force"), most_bytes=int(2 ** random.uniform(12, 24)))
        _, message = running.communicate(timeout=600)
        lines = [line for line in message.splitlines() if line.strip()]
        assert running.returncode in (0, 1), message
        if running.returncode:
            assert len(lines) == 1 and "does not know" not in message, message
            assert content(at / "models") == before
        yield f"{name} refused" if running.returncode else f"{name} fitted"


def replaced_files(at: Path, tries: int) -> Outcomes:
    """The model is replaced while it is profiled: what was measured after that is no measurement."""
    model = at / "models" / "bert-tiny" / "fp32" / "model.onnx"
    kept = model.read_bytes()
    run = at / "reports" / "run"
    for _ in range(tries):
        shutil.rmtree(at / "reports", ignore_errors=True)
        running = start(at, profile(at, "4,8,16"))
        expected = random.randrange(1, VISITS - 1)
        wait_until(lambda: _whole_lines(run).count(b"\n") >= expected or running.poll() is not None)  # noqa: B023
        measured = _whole_lines(run).count(b"\n")
        model.with_suffix(".new").write_bytes(kept + b"\0" * random.choice([0, 1]))
        model.with_suffix(".new").replace(model)
        _, message = running.communicate(timeout=600)
        records = store.load_records(run).measurements
        # One visit may have ended between the count and the replacement.
        later = records[measured + 1 :]
        assert all(one.status == "failed" and "changed or replaced" in one.error for one in later), later
        assert running.returncode in (0, 1), message  # 0 where every point had been visited once before
        model.write_bytes(kept)
        whole(at, profile(at))
        yield f"after {measured} of {VISITS} visits"


ORDEALS: dict[Callable[[Path, int], Outcomes], int] = {
    kills_of_export: 10,
    kills_of_quantize: 12,
    kills_of_profile: 30,
    two_profiles: 6,
    two_exports: 3,
    full_disks: 12,
    replaced_files: 6,
}
"""And how often each is gone through."""
