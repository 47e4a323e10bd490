"""Where things lie, and how they survive a killed process, a full disk, another machine."""

import csv
import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from builders import records

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.errors import RunError, StorageError, UsageError
from edgeprof.schema import (
    Artifact,
    Case,
    Check,
    Facts,
    Graph,
    GraphCount,
    KernelTime,
    Left,
    Machine,
    Measurement,
    OperatorPass,
    Outcome,
    Precision,
    QuantReceipt,
    Reading,
    StageReceipt,
    StaticGraph,
    TensorSpec,
    Variant,
    WeightsSource,
    codec,
    decode,
    encode,
    encode_pretty,
)
from edgeprof.store.locks import sole_writer

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
MADE_AT = "2026-01-01T00:00:00+00:00"
KEY = records.key("gpt2", phase="decode", tokens=1, past_tokens=16, machine_id="m1")
MEASUREMENT = Measurement(
    key=KEY,
    round=0,
    facts=Facts(family="gpt2", params=124_439_808, macs=132_987_648),
    settings_key="k",
    outcome=Outcome(status="ok", reading=READING, started_at=MADE_AT),
)
OPERATORS = OperatorPass(key=KEY, settings_key="k", outcome=Outcome(status="failed", started_at=MADE_AT))
KERNEL = KernelTime(
    precision="fp32",
    tokens=128,
    width=768,
    threads=2,
    round=0,
    status="failed",
    machine_id="m1",
    started_at="2026-01-01T00:00:00+00:00",
)
GRAPH = Graph(
    path="model.onnx",
    sha256="b" * 64,
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
ARTIFACT = Artifact(
    name="gpt2",
    precision=Precision(recipe="int8"),
    weights=WeightsSource(kind="file"),
    graphs=(GRAPH,),
    variant=Variant(name="gpt2", family="gpt2", task="causal-lm", config={"n_layer": 12}, max_tokens=1024),
    params=124_439_808,
)


def at(path: str) -> Artifact:
    """The artifact with its graph elsewhere."""
    return ARTIFACT.with_graphs([msgspec.structs.replace(GRAPH, path=path)])


def failed(**changes: object) -> Measurement:
    return records.changed(MEASUREMENT, status="failed", error="why", reading=None, **changes)


# --- records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [MACHINE, MEASUREMENT, failed(), ARTIFACT], ids=lambda record: type(record).__name__)
def test_records_come_back_from_json_as_they_were(record: Machine | Measurement | Artifact) -> None:
    for data in (encode(record), encode_pretty(record)):
        assert decode(data, type(record), "here") == record


def test_a_record_that_does_not_fit_names_its_place_and_what_is_wrong() -> None:
    with pytest.raises(RunError, match=r"^here does not hold a valid Machine record \(.*machine_id"):
        decode(b"{}", Machine, "here")


def test_what_a_newer_edgeprof_wrote_is_refused_by_name() -> None:
    data = encode(msgspec.structs.replace(ARTIFACT, schema_version=7))
    with pytest.raises(RunError) as error:
        decode(data, Artifact, "here")
    assert str(error.value) == (
        "here was written by a newer edgeprof (schema 7; this one reads up to 2). Upgrade edgeprof."
    )


def test_what_an_older_edgeprof_wrote_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if schema 3 had come, after 2 had called a field otherwise, and 1 had not had it."""

    def second(fields: dict[str, object]) -> dict[str, object]:
        return {**fields, "computer": "Cortex-A76"}

    def third(fields: dict[str, object]) -> dict[str, object]:
        return {"cpu" if name == "computer" else name: value for name, value in fields.items()}

    monkeypatch.setattr(codec, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(codec, "UPGRADES", {1: {Machine: second}, 2: {Machine: third}})
    first = json.loads(encode(MACHINE))
    del first["cpu"], first["schema_version"]  # which the very first records did not have
    read = decode(json.dumps(first).encode(), Machine, "here")
    assert read == msgspec.structs.replace(MACHINE, schema_version=3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"machine_id": "m1", "machine_id": "m2"}', "has a field twice"),
        (b'{"machine_id": "\xff"}', "can't decode byte 0xff"),
        (b'{"schema_version": "1"}', "`schema_version` is not a version"),
        (b'{"memory_bytes": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (encode(MACHINE).replace(b"8000000000", b"-1"), "`int` >= 0"),
        (encode(MACHINE).replace(b"8000000000", b"NaN"), "malformed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_no_other_error_leaves_the_reading_of_a_record(data: bytes, message: str) -> None:
    with pytest.raises(RunError, match=f"^here does not hold a valid Machine record .*{re.escape(message)}"):
        decode(data, Machine, "here")


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


def test_errors_name_the_final_folder_not_the_one_in_progress(tmp_path: Path) -> None:
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
    assert [path.name[:14] for path in sorted(tmp_path.iterdir())] == [".fp32.lock", ".fp32.partial-"]
    other = tmp_path / ".int8.partial-1-x"
    other.mkdir()
    with store.folder_in_progress(tmp_path / "fp32"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"fp32", other.name}


@pytest.mark.parametrize("again", [False, True], ids=["once", "once and made again"])
def test_a_kill_between_the_two_renames_loses_nothing(again: bool, tmp_path: Path) -> None:
    """What stood at the name has left it, and what takes its place has not come."""
    folder = tmp_path / "gpt2" / "fp32"
    store.save_artifact(folder, ARTIFACT)
    code = (
        "import os, sys; from pathlib import Path; from edgeprof import store\n"
        "with store.folder_in_progress(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'new').touch()\n"
        "    rename = Path.rename\n"
        "    Path.rename = lambda self, to: (rename(self, to), os.kill(os.getpid(), 9))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert not folder.exists()
    if again:
        with store.folder_in_progress(folder):
            assert (folder / "artifact.json").is_file()
    assert store.artifact_folders(tmp_path) == ([] if again else [folder])
    assert [path.name for path in folder.parent.iterdir()] == ["fp32"]


def test_an_interruption_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fp32"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        rename(self, target)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.folder_in_progress(folder):
        monkeypatch.setattr(Path, "rename", interrupted)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["fp32", "fp32/old"]


HOLD = (
    "import sys; from pathlib import Path; from edgeprof.store.locks import sole_writer\n"
    "with sole_writer(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.readline()"
)


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_folder_has_one_writer_whose_lock_ends_with_it(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdin
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=rf"{folder} is being written by process {other.pid}, since 2\d{{3}}-\d\d"):  # noqa: SIM117
            with store.run_in_progress(folder, MACHINE):
                pass
        assert not folder.exists()
        if how == "ends":
            other.stdin.write("\n")
            other.stdin.flush()
        else:
            other.kill()
        other.wait()
    with store.run_in_progress(folder, MACHINE) as recorded:
        assert recorded == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_who_waits_for_a_folder_gets_it_when_the_other_has_ended(tmp_path: Path) -> None:
    held: list[str] = []
    command = [sys.executable, "-c", HOLD, str(tmp_path / "fp32")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdin
        other.stdout.readline()

        def waiting(holder: str) -> None:
            held.append(holder)
            assert other.stdin
            other.stdin.close()

        with sole_writer(tmp_path / "fp32", waiting), sole_writer(tmp_path / "fp32"):
            assert len(held) == 1
            assert held[0].startswith(f"process {other.pid}, since ")
    assert list(tmp_path.iterdir()) == []


# --- what cannot be read ---------------------------------------------------------------------------------------


def hidden(path: Path) -> None:
    path.touch()
    path.chmod(0)


UNREADABLE = {
    "there is no such file": lambda path: None,
    "it is a folder": Path.mkdir,
    "it is a pipe or a device, not a file": os.mkfifo,
    "it is a link that leads to itself": lambda path: path.symlink_to(path),
    "it is not UTF-8 text": lambda path: path.write_bytes(b"\xff\xfe"),
    "permission is denied": hidden,
}


@pytest.mark.parametrize(("reason", "make"), UNREADABLE.items(), ids=UNREADABLE)
def test_what_cannot_be_read_is_named_with_the_reason(reason: str, make: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "file"
        make(path)
        as_anybody = os.geteuid() == 0 and make is hidden
        if as_anybody:  # root may read everything
            os.seteuid(65534)
        try:
            with pytest.raises(StorageError) as error:
                store.read_text(path)
        finally:
            if as_anybody:
                os.seteuid(0)
        assert str(error.value) == f"{path} cannot be read: {reason}. Check the path."


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a/../" * 2000])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(RunError, match=r"cannot be read: (no file has such a name|the name is too long)\."):
        store.read_bytes(Path(name), RunError)


# --- artifacts -------------------------------------------------------------------------------------------------


def test_finished_artifacts_below_a_folder_are_listed(tmp_path: Path) -> None:
    for name in ("b/fp32", "a/int8", "a/.fp32.partial-1-x"):
        store.save_artifact(tmp_path / name, ARTIFACT)
    assert store.artifact_folders(tmp_path) == [tmp_path / "a/int8", tmp_path / "b/fp32"]
    assert store.artifact_folders(tmp_path / "a/int8") == [tmp_path / "a/int8"]


def test_an_artifact_may_be_moved(tmp_path: Path) -> None:
    folder = tmp_path / "gpt2" / "int8"
    store.save_artifact(folder, at(str(tmp_path / "elsewhere" / "model.onnx")))
    (folder / "model.onnx").touch()
    moved = folder.rename(tmp_path / "moved")
    assert store.load_artifact(moved).location == str(moved / "model.onnx")


@pytest.mark.parametrize(("data", "message"), [(None, "has lost its model files"), (b"12", "differ in size")])
def test_an_artifact_whose_weights_are_not_there_is_refused(data: bytes | None, message: str, tmp_path: Path) -> None:
    store.save_artifact(tmp_path, msgspec.structs.replace(ARTIFACT, data_files=("model.onnx.data",), data_bytes=3))
    (tmp_path / "model.onnx").touch()
    if data is not None:
        (tmp_path / "model.onnx.data").write_bytes(data)
    with pytest.raises(RunError, match=message):
        store.load_artifact(tmp_path)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "linked.onnx"])
@pytest.mark.parametrize("static", [False, True])
def test_a_record_names_no_file_outside_of_its_folder(name: str, static: bool, tmp_path: Path) -> None:
    folder = tmp_path / "fp32"
    graph = StaticGraph(file=name, case=Case(batch=1, tokens=4), max_abs_error=0, sha256="", key="")
    artifact = msgspec.structs.replace(ARTIFACT, static=(graph,)) if static else at(name)
    store.write_atomic(folder / "artifact.json", encode_pretty(artifact))
    for file in (tmp_path / "model.onnx", folder / "model.onnx"):
        file.touch()
    (folder / "linked.onnx").symlink_to("../model.onnx")
    with pytest.raises(RunError, match=rf"artifact\.json names {name}, which does not lie in its folder"):
        store.load_artifact(folder)


def test_keys_are_equal_exactly_when_the_parts_are() -> None:
    assert store.content_key({"a": 1, "b": 2}) == store.content_key({"b": 2, "a": 1})
    assert store.content_key("ab", "c") != store.content_key("a", "bc")
    assert store.content_key(ARTIFACT) != store.content_key(msgspec.structs.replace(ARTIFACT, params=18))


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
    store.append_measurement(tmp_path, records.changed(MEASUREMENT, machine_id="m2"))
    with pytest.raises(RunError, match="mixes records of several machines"):
        store.load_measurements(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OTHER = {
    "machine.json": encode_pretty(msgspec.structs.replace(MACHINE, machine_id="m2")),
    "measurements.jsonl": encode(records.changed(MEASUREMENT, machine_id="m2")) + b'\n{"half',
    "operators.jsonl": encode(records.changed(OPERATORS, machine_id="m2")) + b"\n",
    "kernels.jsonl": encode(msgspec.structs.replace(KERNEL, machine_id="m2")) + b"\n",
}


@pytest.mark.parametrize("foreign", OTHER)
@pytest.mark.parametrize("own", ["nothing", "machine.json", "measurements.jsonl"])
def test_a_run_with_anything_of_another_machine_is_refused_and_left_as_it_was(
    own: str, foreign: str, tmp_path: Path
) -> None:
    if own != "nothing":
        store.open_run(tmp_path, MACHINE)
        store.append_measurement(tmp_path, MEASUREMENT)
        (tmp_path / ({"machine.json", "measurements.jsonl"} - {own}).pop()).unlink()
    (tmp_path / foreign).write_bytes(OTHER[foreign])
    before = content(tmp_path)
    with pytest.raises(RunError, match=r"another machine|several machines"):
        store.open_run(tmp_path, MACHINE)
    assert content(tmp_path) == before


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
    *("variant", "family", "params", "precision", "provider", "phase", "batch", "tokens", "past_tokens"),
    *("source_tokens", "threads"),
    *("status", "verdict", "latency_median_s", "latency_best_s", "latency_ci_low_s", "latency_ci_high_s"),
    *("latency_p90_s", "samples"),
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


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("a\n=b\x1b[2J", "a\\n=b\\x1b[2J"),
        ("bert-base", "bert-base"),
    ],
)
def test_a_name_is_no_formula_and_no_row_in_a_spreadsheet(name: str, cell: str, tmp_path: Path) -> None:
    (point,) = statistics.points([records.changed(MEASUREMENT, variant=name)])
    file = store.save_table(tmp_path, [records.changed(point, first_run_s=-0.5)])
    with file.open(newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert (row["variant"], row["first_run_s"]) == (cell, "-0.5")
