"""Runs made before, here or elsewhere: found by name or folder, refused when they are not whole."""

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


@pytest.mark.parametrize("file", ["machine.json", "measurements.jsonl"])
def test_a_run_without_one_of_its_files_is_refused(file: str, reports: Path) -> None:
    (reports / "older" / file).unlink()
    with pytest.raises(RunError, match=f"holds no {file}"):
        load_run(reports / "older")


def test_a_report_writes_the_table_again(reports: Path) -> None:
    page = write_report("older", out=reports)
    assert page == reports / "older" / "index.html"
    assert (reports / "older" / "measurements.csv").is_file()
    assert (reports / "older" / "report.md").is_file()
