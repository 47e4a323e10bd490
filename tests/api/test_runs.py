"""Runs from this machine or another: loaded by name or folder, and rejected when incomplete."""

import os
import shutil
from pathlib import Path

import pytest

from edgeprof import load_run, write_report
from edgeprof.errors import RunError, UnknownName, UsageError

RECORDED = Path(__file__).parents[1] / "data" / "run"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    shutil.copytree(RECORDED, tmp_path / "older")
    shutil.copytree(RECORDED, tmp_path / "newer")
    os.utime(tmp_path / "older" / "measurements.jsonl", (0, 0))
    return tmp_path


def test_the_latest_run_is_the_one_measured_last(reports: Path) -> None:
    assert Path(load_run(out=reports).folder) == reports / "newer"


def test_by_name_and_by_folder(reports: Path) -> None:
    assert load_run("older", out=reports).points == load_run(reports / "newer").points


def test_a_misspelt_run_is_offered_the_nearest(reports: Path) -> None:
    with pytest.raises(UnknownName, match=r"no run called 'oldr'\. Did you mean older\?"):
        load_run("oldr", out=reports)


def test_no_runs_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no runs in \S+ yet\. Run: edgeprof profile --seq 512"):
        write_report(out=tmp_path / "reports")


def test_a_run_without_measurements_is_refused(reports: Path) -> None:
    for damage in (Path.unlink, Path.touch):
        damage(reports / "older" / "measurements.jsonl")
        with pytest.raises(RunError, match=r"has no measurements\.jsonl"):
            load_run(reports / "older")


def test_measurements_that_were_copied_alone_are_a_run(reports: Path, tmp_path: Path) -> None:
    file = tmp_path / "mailed" / "measurements.jsonl"
    file.parent.mkdir()
    shutil.copy(reports / "older" / "measurements.jsonl", file)
    result = load_run(file)
    assert result.points == load_run(reports / "older").points
    assert load_run(file.parent).machine.machine_id == result.measurements[0].machine_id
    page = write_report(file)
    assert "not recorded (no machine.json)" in page.read_text()
    assert "not recorded (no machine.json)" in page.with_name("report.md").read_text()


def test_measurements_of_another_machine_than_the_one_beside_them_are_refused(reports: Path) -> None:
    file = reports / "older" / "measurements.jsonl"
    file.write_text(file.read_text().replace(load_run("older", out=reports).machine.machine_id, "other"))
    with pytest.raises(RunError, match="mixes records of several machines"):
        load_run("older", out=reports)


def test_a_report_writes_the_table_again(reports: Path) -> None:
    page = write_report("older", out=reports)
    assert page == reports / "older" / "index.html"
    assert (reports / "older" / "measurements.csv").is_file()
    assert (reports / "older" / "report.md").is_file()
