"""One run over several devices, which are processes of two environments: planned here, visited there, recorded here."""

import contextlib
import csv
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from command import command_line
from msgspec.structs import replace
from run_devices import Watched, gone, killed, pinned_device, wait_until
from typer.testing import CliRunner

from edgeprof import Run, load_run, profile, store, write_report
from edgeprof.api import fleet_run
from edgeprof.cli.app import app
from edgeprof.errors import DeviceLost, EdgeprofError, RunError, UsageError
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Measured
from edgeprof.fleet.pipe_link import PipeLink
from edgeprof.fleet.turn import user

QUICK: dict[str, Any] = {
    "seq": [4, 16],
    "precision": ["fp32"],
    "rounds": 2,
    "max_time_s": 0,
    "runs": 2,
    "min_time_s": 0.0,
}


@pytest.fixture(scope="module")
def devices(openvino: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PipeLink]]:
    """Two equal devices, and one with another onnxruntime."""
    folder = tmp_path_factory.mktemp("devices")
    links = {
        "left": pinned_device("left", folder),
        "right": pinned_device("right", folder),
        "vino": pinned_device("vino", folder, openvino, core=1),
    }
    yield links
    for link in links.values():
        link.close()


@pytest.fixture
def on(devices: dict[str, PipeLink], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the names of a command stand for; a test may put others in."""
    known: dict[str, Any] = {name: Watched(link) for name, link in devices.items()}

    @contextlib.contextmanager
    def open_links(names: Sequence[str], **_: object) -> Iterator[list[Link]]:
        yield [known[name] for name in names]

    monkeypatch.setattr("edgeprof.api.profile.open_links", open_links)
    monkeypatch.setattr(fleet_run, "PAUSES_S", (0.05,))
    monkeypatch.setattr(fleet_run, "GIVE_UP_S", 0.2)
    return known


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


def measured(on: Sequence[str], models: Path, out: Path, **options: Any) -> Run:
    return profile(["bert-tiny"], on=on, models=models, out=out, **{**QUICK, **options})


def places(run: Run) -> list[tuple[str, int | None, str]]:
    return sorted((point.place.host, point.load.tokens, point.status) for point in run.points)


ALL_OK = [("left", 4, "ok"), ("left", 16, "ok"), ("vino", 4, "ok"), ("vino", 16, "ok")]


def test_a_run_has_the_points_of_all_its_devices(on: dict[str, Any], models: Path, reports: Path) -> None:
    run = measured(["left", "vino"], models, reports, name="both")
    assert places(run) == ALL_OK
    assert on["left"].clients == {f"{user()}@{platform.node()}"}
    assert [host.name for host in run.hosts] == ["left", "vino"]
    assert len({point.machine_id for point in run.points}) == 2
    assert all(len([one for one in run.measurements if one.round == number]) == 4 for number in (0, 1))
    assert any(note.startswith("onnxruntime differs between devices: ") for note in run.notes)
    folder = Path(run.folder)
    assert not (folder / "machine.json").exists()
    assert len(json.loads((folder / "machines.json").read_text())["hosts"]) == 2
    with (folder / "measurements.csv").open() as file:
        assert sorted({row["host"] for row in csv.DictReader(file)}) == ["left", "vino"]
    predicted = [point.facts.memory for point in run.points]
    assert all(predicted)  # of each device's own runtime
    # taken up later, nothing is measured twice; a device more is measured beside them
    again = measured(["left", "vino"], models, reports, name="both")
    assert [one.visits for one in on.values()] == [4, 0, 4]
    assert again.measurements == run.measurements
    wider = measured(["right", "left"], models, reports, name="both")
    assert [one.visits for one in on.values()] == [4, 4, 4]
    assert places(wider) == sorted([*ALL_OK, ("right", 4, "ok"), ("right", 16, "ok")])
    # two equal machines stay apart
    assert len({point.machine_id for point in wider.points}) == 2
    assert {host.name for host in wider.hosts} == {"left", "right", "vino"}


def test_its_report_has_the_device_as_a_series(on: dict[str, Any], models: Path, reports: Path) -> None:
    run = measured(["left", "vino"], models, reports, name="both")
    page = write_report(run.folder)
    text = (page.parent / "report.md").read_text()
    for device in ("left", "right", "vino"):
        assert f"### {device}\n" in text
    assert "| Device |" in text
    assert "Prefill latency by device" in text
    assert (page.parent / "figures/prefill-latency-by-device.png").is_file()
    assert "--on left,right" in text  # how to reproduce: equal threads and options
    assert "3 devices (left, vino, right)" in page.read_text()
    laws = json.loads((page.parent / "laws.json").read_text())
    assert len(laws["laws"]) == len({law["key"]["place"]["host"] for law in laws["laws"]})


def test_other_versions_can_be_refused(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^onnxruntime differs between devices: .* on left and .* on vino\. Install the"
    ):
        measured(["left", "vino"], models, tmp_path, same_versions=True)
    assert not list(tmp_path.iterdir())
    assert on["left"].visits == 0


def test_a_killed_device_gets_its_work_again(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    on["left"].accident = partial(killed, at=1)
    run = measured(["left", "vino"], models, tmp_path)
    assert places(run) == ALL_OK
    assert len(run.measurements) == 8
    assert (on["left"].visits, on["vino"].visits) == (4, 4)


def test_a_lost_device_costs_its_points_until_the_run_is_taken_up(
    on: dict[str, Any], models: Path, tmp_path: Path
) -> None:
    on["left"].accident = partial(gone, at=1)
    run = measured(["left", "vino"], models, tmp_path, name="lost")
    lost = [point for point in run.points if point.status == "lost"]
    assert len(lost) == 1  # the other has a visit
    assert lost[0].error == "left does not answer. Check that it is on."
    assert len(run.measurements) == 1 + 2 + 4  # a visit, two points that wait, and those of the other device
    on["left"].gone, on["left"].accident = False, None
    again = measured(["left", "vino"], models, tmp_path, name="lost")
    assert places(again) == ALL_OK
    assert (on["left"].visits, on["vino"].visits) == (1 + 3, 4)
    assert {point.rounds for point in again.points} == {2}


def test_a_device_that_is_lost_after_a_visit_of_each_point_is_told(
    on: dict[str, Any], models: Path, tmp_path: Path
) -> None:
    on["left"].accident = partial(gone, at=2)
    words = ["profile", "bert-tiny", "--on", "left", "--seq", "4,16", "--precision", "fp32", "--rounds", "2"]
    words += ["--max-time", "0", "--runs", "2", "--min-time", "0", "--name", "mine"]
    ran = CliRunner().invoke(app, [*words, "--models", str(models), "--out", str(tmp_path)])
    run = load_run(tmp_path / "mine")
    assert places(run) == [("left", 4, "ok"), ("left", 16, "ok")]
    assert (run.lost, ran.exit_code) == (["left"], 1)
    assert "left went away before its points were visited enough. Take the run up with --name mine." in ran.output


def test_a_visit_that_ends_the_device_each_time_is_given_up(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    tried: list[int] = []

    def ends(link: Watched, number: int) -> bool:
        tried.append(number)
        assert len(tried) < 50
        raise DeviceLost(f"{link.name}: the process ended with signal SIGSEGV.", "Run the command again.")

    on["left"].accident = ends
    run = measured(["left", "vino"], models, tmp_path)
    assert places(run) == [("left", 4, "lost"), ("left", 16, "lost"), *ALL_OK[2:]]
    assert {point.error for point in run.failed} == {
        "left: the process ended with signal SIGSEGV. Run the command again."
    }


def test_files_that_a_device_has_are_not_read_again(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    own = tmp_path / "models"
    shutil.copytree(models / "bert-tiny", own / "bert-tiny")

    def removed(_link: Watched, number: int) -> bool:
        if number == 1:
            shutil.rmtree(own)
        return number == 1

    on["left"].accident = removed
    run = measured(["left"], own, tmp_path, rounds=3, seq=[4])
    assert not own.exists()
    assert [point.rounds for point in run.points] == [3]


def test_a_record_that_does_not_fit_costs_its_point(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    def changed(number: int, reply: Measured) -> bytes:
        record = reply.measurement
        if number == 0:
            fields = msgspec.to_builtins(reply)
            fields["measurement"]["outcome"]["reading"]["latencies_s"] = [-1.0]
            return msgspec.msgpack.encode(fields)
        if number == 1:
            stranger = replace(record.key, subject=replace(record.key.subject, digest="0" * 64))
            record = replace(record, key=stranger)
        return msgspec.msgpack.encode(replace(reply, measurement=record))

    on["left"].changed = changed
    run = measured(["left"], models, tmp_path, rounds=1)
    errors = sorted(point.error for point in run.points)
    assert [point.status for point in run.points] == ["failed", "failed"]
    assert errors[0].startswith("left replied with a record of another point.")
    assert errors[1].startswith("left replied with what was not asked for (Expected `float` > 0")
    on["left"].changed = None
    assert not measured(["left"], models, tmp_path, rounds=1, name=Path(run.folder).name).failed


def test_another_machine_under_the_name_is_not_mixed_in(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    measured(["left"], models, tmp_path, rounds=1, name="one")
    on["left"], on["vino"] = on["vino"], on["left"]
    on["left"].name = on["left"].link.name = "left"
    try:
        with pytest.raises(RunError, match="In run 'one' left was another machine"):
            measured(["left"], models, tmp_path, rounds=1, name="one")
    finally:
        on["left"].link.name = "vino"


def test_runs_on_one_machine_and_over_devices_do_not_mix(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    measured(["left"], models, tmp_path, rounds=1, seq=[4], name="there")
    with pytest.raises(RunError, match=r"Run 'there' is over several devices: left\. Name them with --on"):
        profile(["bert-tiny"], models=models, out=tmp_path, name="there", **QUICK)
    here = profile(["bert-tiny"], models=models, out=tmp_path, name="here", **{**QUICK, "rounds": 1, "seq": [4]})
    assert here.hosts == ()
    assert (Path(here.folder) / "machine.json").exists()
    assert not (Path(here.folder) / "machines.json").exists()
    with pytest.raises(RunError, match=r"Run 'here' was measured on one machine, without --on\. Omit --on"):
        measured(["left"], models, tmp_path, name="here")


def test_a_device_that_is_not_quiet_can_be_refused(on: dict[str, Any], models: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(psutil.cpu_count()):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        refused = r"^left: This machine is not quiet: other processes use .* Stop what .*, or omit --strict\.$"
        with pytest.raises(RunError, match=refused):
            measured(["left"], models, tmp_path, strict=True)
    assert on["left"].visits == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ops": True}, "--ops"),
        ({"memory": True}, "--memory"),
        ({"sustain_s": 1.0}, "--sustain"),
        ({"generate": 4}, "--generate"),
        ({"baseline": ["torch"]}, "--baseline"),
    ],
)
def test_what_works_on_one_machine_only_is_refused(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{named} does not work with --on"):
        profile(["bert-tiny"], on=["local"], out=tmp_path, **options)


def test_a_provider_that_no_device_has_is_refused_and_one_that_some_have_is_noted(
    on: dict[str, Any], models: Path, tmp_path: Path
) -> None:
    with pytest.raises(EdgeprofError, match=r"^left: openvino-cpu is not installed\. Run on left: pip uninstall"):
        measured(["left"], models, tmp_path, ep=["openvino-cpu"])
    run = measured(["left", "vino"], models, tmp_path, seq=[4], rounds=1, ep=["cpu", "openvino-cpu"])
    assert sorted((point.place.host, point.place.provider) for point in run.points) == [
        ("left", "cpu"),
        ("vino", "cpu"),
        ("vino", "openvino-cpu"),
    ]
    assert any(note.startswith("left: openvino-cpu") for note in run.notes)
    assert not run.failed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_valid_run_and_nothing_running(number: signal.Signals, models: Path, tmp_path: Path) -> None:
    words = ["profile", "bert-tiny", "--on", "local", "--seq", "4,16", "--rounds", "500", "--max-time", "0"]
    words += ["--runs", "2", "--min-time", "0", "--name", "ended", "--models", str(models), "--out", str(tmp_path)]
    own = {**os.environ, "EDGEPROF_LOCKS": str(tmp_path)}
    command = subprocess.Popen(command_line(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own)
    lines = tmp_path / "ended/measurements.jsonl"
    wait_until(lambda: lines.exists() and lines.read_bytes().count(b"\n") > 1)
    children = psutil.Process(command.pid).children(recursive=True)
    command.send_signal(number)
    _, printed = command.communicate(timeout=60)
    assert command.returncode == 128 + number
    assert b"finished results are on disk." in printed
    assert not psutil.wait_procs(children, timeout=10)[1]
    run = load_run(tmp_path / "ended")
    assert {point.place.host for point in run.points} == {"local"}
    assert {point.status for point in run.points} == {"ok"}
    assert (tmp_path / "ended" / store.TABLE_FILE).exists()
