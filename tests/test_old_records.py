"""Runs of version 1 of the schema, as they lie on disks: read as those of today."""

import shutil
from pathlib import Path

import pytest

from edgeprof import load_run, store, write_report
from edgeprof.analysis.statistics import points
from edgeprof.errors import RunError
from edgeprof.schema import SCHEMA_VERSION, Measurement, OperatorPass, decode, encode

DATA = Path(__file__).parent / "data"
EXAMPLES = DATA / "records_v1"


def only(name: str, kind: type[Measurement]) -> Measurement:
    return decode((EXAMPLES / name).read_bytes(), kind, name)


def test_a_run_of_version_1_is_the_same_run() -> None:
    """`run_v1` was written by version 1, `run` by this one, from the same numbers."""
    old, new = store.load_measurements(DATA / "run_v1"), store.load_measurements(DATA / "run")
    assert b'"schema_version":1' in (DATA / "run_v1" / "measurements.jsonl").read_bytes()
    assert {record.schema_version for record in old} == {SCHEMA_VERSION}
    assert old == new
    assert points(old) == points(new)


def test_a_run_of_version_1_is_reported(tmp_path: Path) -> None:
    """What later versions record is missing, and left out."""
    shutil.copytree(DATA / "run_v1", tmp_path / "run")
    (page, run) = write_report("run", out=tmp_path).read_text(), load_run("run", out=tmp_path)
    assert not any(point.facts.memory or point.memory_limit for point in run.points)
    assert all(record.goal is None for record in run.measurements)
    assert "Prefill latency over token length" in page
    assert "Memory by parts" not in page


def test_a_run_of_version_1_is_resumed_line_by_line(tmp_path: Path) -> None:
    shutil.copytree(DATA / "run_v1", tmp_path / "run")
    recorded = store.load_measurements(tmp_path / "run")
    store.append_measurement(tmp_path / "run", recorded[0])
    assert store.load_measurements(tmp_path / "run") == [*recorded, recorded[0]]


def test_a_visit_on_another_provider() -> None:
    record = only("webgpu.json", Measurement)
    assert str(record.subject.weights) == "random (seed 0)"
    assert (record.subject.precision.recipe, record.subject.precision.settings.block_size) == ("int4", 128)
    assert record.subject.precision.settings.symmetric is False
    assert record.place.options == (("backend_type", "htp"), ("enableInt64", "1"))
    assert record.facts.ep_options == {"backend_type": "htp"}  # the other one is a default of webgpu
    assert (record.place.device, record.place.library, record.place.emulated) == ("Example", "/opt/ep.so", True)
    assert record.receipt.share_text == "75 % of MACs"
    assert (record.receipt.static, record.receipt.compile_s, record.receipt.agrees) == (True, 3.5, False)
    assert record.facts.memory_predicted_bytes is None  # it was of the CPU provider, and says nothing of this one
    assert (record.facts.seq, record.facts.dims, record.facts.fills) == (16, {"N": 2}, {"x": "normal values"})
    assert record.outcome.status == "ok"
    assert record.outcome.reading is not None
    assert record.outcome.reading.latencies_s == (0.25, 0.5)
    assert decode(encode(record), Measurement, "the record") == record


def test_a_pass_with_the_profiler() -> None:
    record = decode((EXAMPLES / "operators.json").read_bytes(), OperatorPass, "operators.json")
    assert (record.subject.model, record.load.length, record.place.threads) == ("gpt2", 64, 2)
    assert record.outcome.reading is not None
    assert record.outcome.reading.operators[0].operator == "MatMul"
    assert (record.vocabulary, record.dispatch_only) == (50257, False)


@pytest.mark.parametrize("damage", ["variant", "provider", "started_at", "artifact_sha256"])
def test_a_damaged_record_of_version_1_is_named(damage: str, tmp_path: Path) -> None:
    text = (DATA / "run_v1" / "measurements.jsonl").read_text().splitlines()[0]
    with pytest.raises(RunError, match=r"line 7 does not hold a valid Measurement record"):
        decode(text.replace(f'"{damage}"', '"other"').encode(), Measurement, "line 7")
