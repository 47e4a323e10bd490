"""Where things lie, and how they survive a killed process, a full disk, another machine."""

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.errors import RunError, StorageError, UsageError
from edgeprof.schema import (
    Artifact,
    Case,
    Check,
    GraphCount,
    Left,
    Machine,
    Measurement,
    QuantReceipt,
    Reading,
    StageReceipt,
    TensorSpec,
    Variant,
    decode,
    encode,
    encode_pretty,
)

MACHINE = Machine(
    machine_id="m1",
    cpu="Cortex-A76",
    cpu_features=("asimd", "asimddp"),
    architecture="aarch64",
    cores_allowed=4,
    governor="performance",
    memory_bytes=8_000_000_000,
    memory_limit_bytes=None,
    os="Debian",
    versions={"onnxruntime": "1.32.0"},
)
READING = Reading(
    providers_active=("CPUExecutionProvider",),
    load_s=0.5,
    first_run_s=0.2,
    warmup_runs=3,
    latencies_s=(0.1, 0.30000000000000004),
    memory_imports_bytes=1,
    memory_loaded_bytes=2,
    memory_loaded_file_bytes=1,
    memory_load_peak_bytes=3,
    memory_run_peak_bytes=4,
)
MEASUREMENT = Measurement(
    variant="gpt2",
    family="gpt2",
    weights="random (seed 0)",
    params=124_439_808,
    precision="fp32",
    provider="cpu",
    phase="decode",
    batch=1,
    tokens=1,
    past_tokens=16,
    threads=2,
    round=0,
    status="ok",
    reading=READING,
    macs=132_987_648,
    artifact_sha256="a" * 64,
    settings_key="k",
    machine_id="m1",
    started_at="2026-01-01T00:00:00+00:00",
)
ARTIFACT = Artifact(
    name="gpt2",
    path="model.onnx",
    precision="int8",
    sha256="b" * 64,
    variant=Variant(name="gpt2", family="gpt2", task="causal-lm", config={"n_layer": 12}, max_tokens=1024),
    params=124_439_808,
    weights="file",
    opset=24,
    inputs=(TensorSpec(name="input_ids", dtype="int64", dims=("batch_size", 4)),),
    outputs=(),
    count=GraphCount(nodes={"MatMul": 3}, weights_bytes=10),
    checks=(Check(case=Case(batch=3, tokens=7), max_abs_error=1.5e-7, cosine=0.99),),
    stages=(
        StageReceipt(
            stage="simplify",
            kept=False,
            before=GraphCount(nodes={}, weights_bytes=0),
            after=GraphCount(nodes={}, weights_bytes=0),
            reason="grew",
        ),
    ),
    quantization=QuantReceipt(
        matmuls=3,
        matmuls_quantized=2,
        weight_bytes=9,
        weight_bytes_quantized=6,
        left=(Left(weight="w", bytes=3, reason="it has 3 dimensions"),),
    ),
)


def failed(**changes: object) -> Measurement:
    return msgspec.structs.replace(MEASUREMENT, status="failed", error="why", reading=None, **changes)


# --- records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [MACHINE, MEASUREMENT, failed(), ARTIFACT], ids=lambda record: type(record).__name__)
def test_records_come_back_from_json_as_they_were(record: Machine | Measurement | Artifact) -> None:
    for data in (encode(record), encode_pretty(record)):
        assert decode(data, type(record), "here") == record


def test_a_record_that_does_not_fit_names_its_place_and_what_is_wrong() -> None:
    with pytest.raises(RunError, match=r"^here does not hold a valid Machine record \(.*machine_id"):
        decode(b"{}", Machine, "here")


def test_records_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        MACHINE.cpu = "another"  # type: ignore[misc]


# --- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file"
    store.write_atomic(file, b"old")
    with pytest.raises(TypeError):
        store.write_atomic(file, "not bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    store.write_atomic(file, b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission is denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_refusal_of_the_disk_names_place_reason_and_next_step(number: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error, store.writing(tmp_path / "file"):
        raise OSError(number, os.strerror(number))
    assert str(error.value) == (
        f"Cannot write {tmp_path / 'file'}: {reason}. "
        "Free or choose another place (--out), then run the same command again."
    )


def test_a_folder_in_progress_is_not_what_a_user_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"Cannot write {tmp_path}: the disk is full"):  # noqa: SIM117
        with store.folder_in_progress(tmp_path / "fp32") as partial:
            with store.writing(partial / "model.onnx"):
                raise OSError(errno.ENOSPC, "full")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        store.write_atomic(tmp_path / "reports" / "run" / "file", b"")


def test_a_folder_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "fp32"
    with store.folder_in_progress(final) as partial:
        (partial / "file").write_text("old")
        assert not final.exists()
    with pytest.raises(KeyError), store.folder_in_progress(final) as partial:
        (partial / "file").write_text("half")
        raise KeyError
    assert (final / "file").read_text() == "old"
    with store.folder_in_progress(final) as partial:
        (partial / "file").write_text("new")
    assert (final / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["fp32"]


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from edgeprof.store import folder_in_progress\n"
        "with folder_in_progress(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'half').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "fp32")], check=False)
    assert [path.name.startswith(".fp32.partial-") for path in tmp_path.iterdir()] == [True]
    alive = tmp_path / f".fp32.partial-{os.getpid()}-x"
    other = tmp_path / ".int8.partial-1-x"
    for folder in (alive, other):
        folder.mkdir()
    with store.folder_in_progress(tmp_path / "fp32"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"fp32", alive.name, other.name}


# --- artifacts -------------------------------------------------------------------------------------------------


def test_artifacts_are_found_below_a_folder_but_not_unfinished_ones(tmp_path: Path) -> None:
    for name in ("b/fp32", "a/int8", "a/.fp32.partial-1-x"):
        store.save_artifact(tmp_path / name, ARTIFACT)
    assert store.artifact_folders(tmp_path) == [tmp_path / "a/int8", tmp_path / "b/fp32"]
    assert store.artifact_folders(tmp_path / "a/int8") == [tmp_path / "a/int8"]


def test_an_artifact_may_be_moved(tmp_path: Path) -> None:
    folder = tmp_path / "gpt2" / "int8"
    store.save_artifact(folder, msgspec.structs.replace(ARTIFACT, path=str(tmp_path / "elsewhere" / "model.onnx")))
    (folder / "model.onnx").touch()
    moved = folder.rename(tmp_path / "moved")
    assert store.load_artifact(moved).path == str(moved / "model.onnx")


@pytest.mark.parametrize(("data", "message"), [(None, "has lost its model files"), (b"12", "is not of the size")])
def test_an_artifact_whose_weights_are_not_there_is_refused(data: bytes | None, message: str, tmp_path: Path) -> None:
    store.save_artifact(tmp_path, msgspec.structs.replace(ARTIFACT, data_bytes=3))
    (tmp_path / "model.onnx").touch()
    if data is not None:
        (tmp_path / "model.onnx.data").write_bytes(data)
    with pytest.raises(RunError, match=message):
        store.load_artifact(tmp_path)


def test_keys_are_equal_exactly_when_the_parts_are() -> None:
    assert store.content_key({"a": 1, "b": 2}) == store.content_key({"b": 2, "a": 1})
    assert store.content_key("ab", "c") != store.content_key("a", "bc")
    assert store.content_key(ARTIFACT) != store.content_key(msgspec.structs.replace(ARTIFACT, opset=18))


# --- runs ------------------------------------------------------------------------------------------------------


def test_a_run_grows_by_whole_lines(tmp_path: Path) -> None:
    assert store.open_run(tmp_path, MACHINE) == []
    store.append_measurement(tmp_path, MEASUREMENT)
    store.append_measurement(tmp_path, failed(round=1))
    lines = (tmp_path / "measurements.jsonl").read_bytes().splitlines(keepends=True)
    assert [line.endswith(b"\n") for line in lines] == [True, True]
    assert store.load_measurements(tmp_path) == store.open_run(tmp_path, MACHINE) == [MEASUREMENT, failed(round=1)]
    assert store.load_machine(tmp_path) == MACHINE


@pytest.mark.parametrize("cut", [1, 20, 500])
def test_a_line_that_was_cut_off_is_dropped_and_the_next_starts_anew(cut: int, tmp_path: Path) -> None:
    store.open_run(tmp_path, MACHINE)
    store.append_measurement(tmp_path, MEASUREMENT)
    file = tmp_path / "measurements.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:cut])
    assert store.load_measurements(tmp_path) == [MEASUREMENT]
    assert store.open_run(tmp_path, MACHINE) == [MEASUREMENT]
    assert file.read_bytes() == whole
    store.append_measurement(tmp_path, failed())
    assert store.load_measurements(tmp_path) == [MEASUREMENT, failed()]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    store.open_run(tmp_path, MACHINE)
    store.append_measurement(tmp_path, MEASUREMENT)
    with (tmp_path / "measurements.jsonl").open("ab") as file:
        file.write(b'{"variant": 7}\n')
    with pytest.raises(RunError, match=r"measurements\.jsonl, line 2 does not hold a valid Measurement"):
        store.load_measurements(tmp_path)


def test_another_machine_may_not_add_to_a_run(tmp_path: Path) -> None:
    store.open_run(tmp_path, MACHINE)
    other = msgspec.structs.replace(MACHINE, machine_id="m2")
    with pytest.raises(RunError, match=r"another machine \(Cortex-A76, Debian\).*--name"):
        store.open_run(tmp_path, other)


def test_records_of_several_machines_are_not_read_as_one_run(tmp_path: Path) -> None:
    store.open_run(tmp_path, MACHINE)
    store.append_measurement(tmp_path, MEASUREMENT)
    store.append_measurement(tmp_path, msgspec.structs.replace(MEASUREMENT, machine_id="m2"))
    with pytest.raises(RunError, match="mixes records of several machines"):
        store.load_measurements(tmp_path)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "-x"])
def test_names_that_would_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        store.run_folder(Path("reports"), name)


def test_runs_are_listed_by_when_they_were_measured(tmp_path: Path) -> None:
    for age, name in enumerate(["newest", "middle", "oldest"]):
        store.open_run(tmp_path / name, MACHINE)
        store.append_measurement(tmp_path / name, MEASUREMENT)
        os.utime(tmp_path / name / "measurements.jsonl", (1000 - age, 1000 - age))
    (tmp_path / "empty").mkdir()
    assert store.run_names(tmp_path) == ["oldest", "middle", "newest"]


DOCUMENTED = (
    *("variant", "family", "params", "precision", "provider", "phase", "batch", "tokens", "past_tokens", "threads"),
    *("status", "latency_median_s", "latency_ci_low_s", "latency_ci_high_s", "latency_p90_s", "samples"),
    *("memory_peak_bytes", "memory_weights_bytes", "macs", "machine_id"),
)


def test_the_table_has_the_documented_columns_first_and_in_order(tmp_path: Path) -> None:
    file = store.save_table(tmp_path, statistics.points([MEASUREMENT, failed(past_tokens=99)]))
    with file.open(newline="") as opened:
        header, ok, broken = csv.reader(opened)
    assert tuple(header[: len(DOCUMENTED)]) == DOCUMENTED
    row = dict(zip(header, ok, strict=True))
    assert (row["variant"], row["past_tokens"], row["status"], row["samples"]) == ("gpt2", "16", "ok", "2")
    assert float(row["latency_median_s"]) == pytest.approx(0.2)
    empty = dict(zip(header, broken, strict=True))
    assert (empty["status"], empty["latency_median_s"], empty["error"]) == ("failed", "", "why")
