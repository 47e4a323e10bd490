"""Where things lie survives being killed: whole files, whole lines, one machine."""

import csv
import os
from pathlib import Path

import msgspec
import pytest

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.errors import RunError, StorageError, UsageError
from edgeprof.schema import Measurement, Point, decode, encode

RUN = Path(__file__).parent / "data" / "run"

# The columns DESIGN.md promises to other tools, in its order.
PROMISED = [
    *("variant", "family", "params", "precision", "provider", "phase", "batch", "tokens", "past_tokens", "threads"),
    *("status", "latency_median_s", "latency_ci_low_s", "latency_ci_high_s", "latency_p90_s", "samples"),
    *("memory_peak_bytes", "memory_weights_bytes", "macs", "machine_id"),
]


@pytest.fixture
def records() -> list[Measurement]:
    return store.load_measurements(RUN)[:3]


def test_records_come_back_as_they_went(records: list[Measurement]) -> None:
    for record in records:
        assert decode(encode(record), Measurement, "here") == record


def test_the_table_has_the_promised_columns_first(records: list[Measurement], tmp_path: Path) -> None:
    points = statistics.points(records)
    with store.save_table(tmp_path, points).open() as file:
        rows = list(csv.reader(file))
    assert rows[0][: len(PROMISED)] == PROMISED
    assert len(rows) == 1 + len(points)
    assert [row[0] for row in rows[1:]] == [point.variant for point in points]


def test_a_missing_value_is_an_empty_cell(records: list[Measurement], tmp_path: Path) -> None:
    failed = msgspec.structs.replace(records[0], status="failed", reading=None, error="no memory")
    text = store.save_table(tmp_path, statistics.points([failed])).read_text().splitlines()[1]
    assert ",failed,,,,,0,,," in text


def test_a_run_is_taken_up_after_a_half_written_line(records: list[Measurement], tmp_path: Path) -> None:
    machine = store.load_machine(RUN)
    run = tmp_path / "run"
    assert store.open_run(run, machine) == []
    for record in records[:2]:
        store.append_measurement(run, record)
    file = run / store.MEASUREMENTS_FILE
    whole = file.read_bytes()
    file.write_bytes(whole + encode(records[2])[:50])
    assert store.load_measurements(run) == records[:2]
    assert store.open_run(run, machine) == records[:2]
    assert file.read_bytes() == whole
    store.append_measurement(run, records[2])
    assert store.load_measurements(run) == records


def test_another_machine_does_not_take_up_a_run(tmp_path: Path) -> None:
    machine = store.load_machine(RUN)
    store.open_run(tmp_path / "run", machine)
    with pytest.raises(RunError, match=r"another machine.*choose another --name"):
        store.open_run(tmp_path / "run", msgspec.structs.replace(machine, machine_id="other"))


def test_records_of_two_machines_in_one_file_are_refused(records: list[Measurement], tmp_path: Path) -> None:
    store.append_measurement(tmp_path, records[0])
    store.append_measurement(tmp_path, msgspec.structs.replace(records[1], machine_id="other"))
    with pytest.raises(RunError, match="mixes records of several machines"):
        store.load_measurements(tmp_path)


def test_a_damaged_line_is_named(records: list[Measurement], tmp_path: Path) -> None:
    store.append_measurement(tmp_path, records[0])
    with (tmp_path / store.MEASUREMENTS_FILE).open("a") as file:
        file.write('{"variant": 1}\n')
    with pytest.raises(RunError, match=r"measurements\.jsonl, line 2"):
        store.load_measurements(tmp_path)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_run_cannot_be_named_like_a_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        store.run_folder(tmp_path, name)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    store.write_atomic(file, b"old")
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        store.write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def _refuse(_handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_takes_its_name_only_when_it_is_done(tmp_path: Path) -> None:
    final = tmp_path / "fp32"
    with store.folder_in_progress(final) as folder:
        (folder / "file").write_text("old")
        assert not final.exists()
    assert (final / "file").read_text() == "old"
    with pytest.raises(ZeroDivisionError), store.folder_in_progress(final) as folder:
        (folder / "file").write_text("new")
        raise ZeroDivisionError
    assert (final / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".fp32.partial-999999999-abc"
    left.mkdir()
    with store.folder_in_progress(tmp_path / "fp32"):
        assert not left.exists()


def test_every_point_has_its_length() -> None:
    for point in statistics.points(store.load_measurements(RUN)):
        assert isinstance(point, Point)
        assert point.length == (point.past_tokens if point.phase == "decode" else point.tokens)
