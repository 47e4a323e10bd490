"""`make hardware EP=cuda`: run a provider on this machine's device, and write the one file that says how it went.

An encoder, a decoder and an image classifier, in fp32 and in what the row of the provider accepts; prefill and decode;
placement, agreement with the CPU, memory and latency; and requests that have to fail. The provider is installed in an
environment of its own, by the command of its row. Takes less than ten minutes. Mail the file, or add it to
edgeprof/providers/hardware: `edgeprof devices` and docs/providers.md say what it was measured on.
"""

import argparse
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edgeprof import EdgeprofError, load_run
from edgeprof.providers.exercised import FOLDER
from edgeprof.providers.table import find
from edgeprof.schema import Device, HardwareReport, Point, encode
from edgeprof.store import write_atomic

from . import checks, environment, models
from .environment import Environment

TOKENS = (64,)
TOKENS_EMULATED = (8,)
"""An emulator takes seconds for what a device does in a millisecond."""

MEASURED = ("--rounds", 2, "--max-time", 0, "--runs", 5, "--min-time", 0.1, "--timeout", 120)
TRIED = ("--rounds", 1, "--max-time", 0, "--runs", 1, "--min-time", 0, "--timeout", 120)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make hardware", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ep", help="a row of `edgeprof devices`")
    parser.add_argument("--python", type=Path, help="of an environment that has edgeprof and the provider")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder that receives the file")
    request = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as work:
            report = of(request.ep, request.python, Path(work))
            written = encode(report).replace(work.encode() + b"/", b"") + b"\n"
        name = re.sub(r"[^a-z0-9]+", "-", f"{request.ep} {report.on.partition(' (')[0]}".lower()).strip("-")
        request.out.mkdir(parents=True, exist_ok=True)
        file = request.out / f"{name}.json"
        write_atomic(file, written)
    except EdgeprofError as problem:
        print(f"make hardware: {problem}", file=sys.stderr)
        return problem.exit_code
    for problem in report.problems:
        print(f"not as it has to be: {problem}")
    ok = sum(point.status == "ok" for point in report.points)
    print(f"{request.ep} on {report.on}: {ok} of {len(report.points)} points, {report.took_s:.0f} s: {file}")
    return bool(report.problems)


def of(ep: str, python: Path | None, work: Path) -> HardwareReport:
    row, started, clock = find(ep), datetime.now(UTC), time.monotonic()
    failures, commands = [], ()
    if python:
        there = Environment(python.absolute(), work)
    else:
        say("an environment")
        there = environment.create(work)
        if row.name != "cpu":
            failures.append(checks.not_installed(there, row))
            say(row.install)
            commands = environment.install(there, row)
    device = ready(there, ep)
    precisions = models.precisions(row)
    tokens = TOKENS_EMULATED if device.emulated else TOKENS
    say(f"exports: {', '.join(precisions)}")
    problems = models.exported(row, work)
    say(f"measurements on {device.device or ep}")
    points = measured(there, ep, precisions, tokens, TRIED if device.emulated else MEASURED)
    say("requests that have to fail")
    failures += checks.provoked(there, row, work / "models", tokens[0])
    problems += checks.of_points(points, row, precisions)
    problems += [f"{one.what}: {one.message}" for one in failures if not one.expected]
    return HardwareReport(
        device=device,
        machine=load_run("hardware", out=work / "reports").machine,
        install=commands,
        packages=there.packages(),
        started_at=started.isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - clock, 1),
        tokens=tokens,
        points=points,
        failures=tuple(failures),
        problems=tuple(problems),
    )


def say(doing: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {doing}", flush=True)


def ready(there: Environment, ep: str) -> Device:
    """The device, proven.

    Raises:
        EdgeprofError: it does not compute here.
    """
    listed = msgspec.json.decode(there.edgeprof("devices", "--refresh", "--json").out, type=list[Device])
    device = next(one for one in listed if one.provider == ep)
    if device.status != "ready":
        raise EdgeprofError(f"{ep} cannot run on this machine: {device.reason or device.status}.", f"See {device.docs}")
    return device


def measured(
    there: Environment, ep: str, precisions: list[str], tokens: tuple[int, ...], rules: tuple[object, ...]
) -> tuple[Point, ...]:
    ran = there.edgeprof(
        *("profile", "--models", "models", "--precision", ",".join(precisions), "--ep", ep),
        *("--seq", ",".join(map(str, tokens)), "--name", "hardware", *rules),
        timeout_s=480,
    )
    if not (there.work / "reports" / "hardware").is_dir():
        raise EdgeprofError(f"Nothing was measured: {ran.message}")  # of one that took too long, what there is counts
    return tuple(map(without_path, load_run("hardware", out=there.work / "reports").points))


def without_path(point: Point) -> Point:
    """A point without what only its run needs."""
    facts = msgspec.structs.replace(point.facts, memory=None)
    return msgspec.structs.replace(point, facts=facts)


if __name__ == "__main__":
    sys.exit(main())
