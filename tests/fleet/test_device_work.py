"""What a device answers: real files, real onnxruntime, in this process and in a child over its pipes."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import probes
from builders.device_links import ChildLink, DirectLink
from msgspec.structs import replace
from test_transport_ssh import Asked, eventually

from edgeprof import store
from edgeprof.api.device_work import handle
from edgeprof.api.points import ProfileRequest, jobs_of
from edgeprof.api.targets import any_model
from edgeprof.errors import DeviceBusy, RunError, StorageError, UsageError, VerificationError
from edgeprof.fleet import frames
from edgeprof.fleet.ask import answer, ask, reply_of
from edgeprof.fleet.messages import (
    Clean,
    Cleaned,
    ContentFile,
    Describe,
    Described,
    Failed,
    Lacking,
    Lacks,
    Measure,
    MeasureCeilings,
    Measured,
    Probed,
    Put,
    Verified,
    Verify,
)
from edgeprof.fleet.pipe import local_command
from edgeprof.fleet.pipe_link import PipeLink
from edgeprof.fleet.send import (
    Files,
    ask_with_files,
    content_of,
    content_of_job,
    measured_visit,
    named_visit,
    send_files,
)
from edgeprof.fleet.turn import turn
from edgeprof.measure import machine
from edgeprof.measure.launch import measure
from edgeprof.measure.schedule import Job, Visit
from edgeprof.schema import CPU, Artifact, Goal, Probe, StoppingRule, Target, decode

HERE = DirectLink()


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device without any files."""
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "device"))
    monkeypatch.setenv("EDGEPROF_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "device"


@pytest.fixture
def child() -> Iterator[ChildLink]:
    link = ChildLink()
    yield link
    link.close()


def job_of(artifact: Artifact, target: Target = CPU, **settings: Any) -> Job:
    defaults = {
        "seq": (8,),
        "batch": (),
        "phase": "prefill",
        "machine_id": "a client",
        "threads": 1,
        "targets": (target,),
        "compile": False,
        "stopping": StoppingRule(min_runs=2, min_time_s=0.0),
        "timeout_s": 60.0,
        "dims": {},
        "files": {},
    }
    (job,) = jobs_of(artifact, ProfileRequest(**{**defaults, **settings}), [])
    return job


def request_for(job: Job, **settings: Any) -> Measure:
    files = content_of_job(job)
    return Measure(visit=named_visit(Visit(job=job, round=0, goal=Goal()), files), files=files.content, **settings)


def sent_and_measured(link: Any, job: Job, **settings: Any) -> Any:
    return ask_with_files(link, request_for(job, **settings), content_of_job(job), Measured).measurement


def test_a_visit_on_a_device_is_recorded_as_a_local_one(artifacts: Any, child: ChildLink) -> None:
    job = job_of(artifacts["gpt2", "fp32"])
    visit = Visit(job=job, round=0, goal=Goal())
    local = measure(visit)
    record = measured_visit(sent_and_measured(child, job), visit)
    here = machine.describe().machine_id
    assert record.key == replace(job.key, place=replace(job.key.place, machine_id=here))
    same = {"facts", "outcome", "key"}
    fields = [name for name in record.__struct_fields__ if name not in same]
    assert [getattr(record, name) for name in fields] == [getattr(local, name) for name in fields]
    assert replace(record.facts, memory=None) == replace(local.facts, memory=None)
    assert record.outcome.status == "ok"
    assert len(record.outcome.reading.latencies_s) >= 2
    assert record.outcome.reading.providers_active == local.outcome.reading.providers_active


def test_memory_is_predicted_for_the_device(artifacts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(artifacts["bert", "fp32"])
    memory = job.facts.memory
    elsewhere = replace(memory, runtime_bytes=1, load_peak_bytes=2, weights_packed_bytes=3)
    found = sent_and_measured(HERE, replace(job, facts=replace(job.facts, memory=elsewhere))).facts.memory
    of_file = found.weights_mapped_bytes  # how much of a file the system maps at once depends on how it was written
    assert found == replace(memory, weights_mapped_bytes=of_file, weights_beside_bytes=found.weights_beside_bytes)
    assert 0 < of_file <= artifacts["bert", "fp32"].data_bytes


def test_shared_weights_are_sent_once(artifacts: Any) -> None:
    fp32 = artifacts["bert", "fp32"]
    files = content_of_job(job_of(fp32))
    total = sum(file.size_bytes for file in files.content)
    assert send_files(HERE, files) == total > fp32.data_bytes > 0
    assert send_files(HERE, files) == 0
    copied = replace(files, content=tuple(replace(file, name=f"as/{file.name}") for file in files.content))
    paths = {f"as/{name}": path for name, path in files.paths.items()}
    assert send_files(HERE, replace(copied, paths=paths)) == 0
    assert ask(HERE, Describe(), Described).kept_bytes == total
    assert ask(HERE, Clean(), Cleaned) == Cleaned(removed_bytes=total, kept_bytes=0)
    assert send_files(HERE, files) == total


def test_sending_goes_on_after_a_cut(artifacts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeprof.fleet.send.CHUNK_BYTES", 100_000)
    files = content_of_job(job_of(artifacts["bert", "fp32"]))
    total = sum(file.size_bytes for file in files.content)
    first = ChildLink()

    def cut(_doing: str, share: float | None) -> None:
        if (share or 0) > 0.5:
            first.child.kill()

    with pytest.raises((OSError, AssertionError)):
        send_files(first, files, cut)
    first.close()
    sent = send_files(HERE, files)
    assert 0 < sent < 0.6 * total
    assert ask(HERE, Lacking(files=files.content), Lacks) == Lacks(have_bytes={})


def test_a_file_that_changes_while_it_is_sent_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.data"
    path.write_bytes(b"0" * 1000)
    own = ContentFile(name="weights.data", sha256=hashlib.sha256(b"1" * 1000).hexdigest(), size_bytes=1000)
    with pytest.raises(StorageError, match=r"^here: What arrived is not the file that was to be sent"):
        send_files(HERE, content_with(own, path))
    with pytest.raises(RunError, match=r"weights\.data was changed while it was sent"):
        send_files(HERE, content_with(replace(own, size_bytes=2000), path))


def content_with(file: ContentFile, path: Path) -> Files:
    return Files(content=(file,), paths={file.name: str(path)})


@pytest.fixture
def from_elsewhere(artifacts: Any, tmp_path: Path) -> Artifact:
    """A model of which only the file is known."""
    (tmp_path / "file").mkdir()
    for file in artifacts["bert", "fp32"].files:
        shutil.copy(file, tmp_path / "file")
    (artifact,) = any_model([str(tmp_path / "file" / "model.onnx")], tmp_path)
    return artifact


def test_an_input_file_goes_too(from_elsewhere: Artifact, tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.arange(8, dtype=np.int64)[None])
    job = job_of(from_elsewhere, files={"input_ids": tmp_path / "ids.npy"})
    names = [file.name for file in content_of_job(job).content]
    assert any(name.startswith("inputs/") and name.endswith(".npy") for name in names)
    record = sent_and_measured(HERE, job)
    assert record.outcome.status == "ok", record.outcome.error
    visit = Visit(job=job, round=0, goal=Goal())
    assert measured_visit(record, visit).settings_key == job.settings_key != record.settings_key


def test_a_file_from_elsewhere_is_measured_and_verified(from_elsewhere: Artifact) -> None:
    assert sent_and_measured(HERE, job_of(from_elsewhere)).outcome.status == "ok"
    reply = ask(HERE, Verify(files=content_of(from_elsewhere).content), Verified)
    assert {check.against for check in reply.artifact.checks} == {"itself without onnxruntime's optimizations"}
    assert reply.artifact.graphs[0].path == "model.onnx"


def test_what_was_removed_meanwhile_is_asked_for(artifacts: Any) -> None:
    job = job_of(artifacts["bert", "fp32"])
    send_files(HERE, content_of_job(job))
    ask(HERE, Clean(), Cleaned)
    assert answer(HERE, request_for(job)) == Lacks(have_bytes={file.sha256: 0 for file in content_of_job(job).content})


# --- providers -----------------------------------------------------------------------------------------


def test_a_provider_that_the_device_lacks_is_a_sentence_in_the_record(artifacts: Any) -> None:
    job = job_of(artifacts["bert", "fp32"])
    target = Target(provider="tensorrt", runtime_name="TensorrtExecutionProvider", kind="GPU")
    for name, status, said in (
        ("tensorrt", "failed", "tensorrt is not installed"),
        ("acme", "unsupported", "There is no execution provider called 'acme'"),
    ):
        record = sent_and_measured(HERE, replace(job, target=replace(target, provider=name)))
        assert (record.outcome.status, record.key.place.provider) == (status, name)
        assert said in record.outcome.error


def test_a_library_of_the_client_is_not_loaded(artifacts: Any) -> None:
    job = job_of(artifacts["bert", "fp32"])
    own = Target(provider="cpu-plugin", runtime_name="Mine", library="/tmp/mine.so", preload=("/tmp/mine.so",))
    record = sent_and_measured(HERE, replace(job, target=own))
    assert "There is no execution provider called 'cpu-plugin'" in record.outcome.error


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torch", "torch reads a checkpoint, which is not sent to a device. Omit the baseline."),
        ("llama.cpp", "--baseline llama.cpp needs a GGUF file"),
        ("tflite", "There is no baseline called 'tflite'"),
    ],
)
def test_a_baseline_that_the_device_cannot_run_is_a_sentence(artifacts: Any, name: str, said: str) -> None:
    job = replace(job_of(artifacts["bert", "fp32"]), target=Target(provider=name, runtime=name, runtime_name=name))
    record = sent_and_measured(HERE, job)
    assert (record.outcome.status, record.key.place.runtime) == ("unsupported", name)
    assert record.outcome.error.startswith(said)


def test_a_graph_is_tailored_on_the_device(portable_models: Path, swiftshader: None, device: Path) -> None:
    from edgeprof.providers.resolve import resolve

    (artifact,) = any_model(["bert-tiny"], portable_models, ["fp32"])
    (target,) = resolve(["webgpu"])
    job = job_of(artifact, target)
    record = sent_and_measured(HERE, replace(job, target=replace(target, library="/elsewhere/libwebgpu.so")))
    assert record.outcome.status == "ok", record.outcome.error
    assert record.key.place == replace(job.key.place, machine_id=machine.describe().machine_id)
    assert record.receipt.placement.placed[0].nodes > 0
    assert record.receipt.agreement.within
    option = replace(target, options={**target.options, "powerPreference": "/tmp/x"})
    refused = sent_and_measured(HERE, replace(job, target=option)).outcome
    assert (refused.status, refused.error) == (
        "unsupported",
        "Option webgpu.powerPreference names a file, which must not come from elsewhere. Omit it.",
    )


def test_a_model_that_this_runtime_cannot_load_is_a_sentence_without_paths(artifacts: Any, tmp_path: Path) -> None:
    import onnx

    job = job_of(artifacts["bert", "fp32"])
    model = onnx.load(job.graph.path, load_external_data=False)
    model.ir_version, model.opset_import[0].version = 99, 99
    folder = tmp_path / "newer"
    shutil.copytree(Path(job.graph.path).parent, folder)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    moved = replace(
        job, graph=replace(job.graph, path=str(folder / "model.onnx")), facts=replace(job.facts, memory=None)
    )
    moved = replace(moved, files=tuple(store.state_of(folder / Path(file.path).name) for file in job.files))
    outcome = sent_and_measured(HERE, moved).outcome
    assert outcome.status == "failed"
    assert "model.onnx" in outcome.error
    assert str(tmp_path) not in outcome.error


# --- verify --------------------------------------------------------------------------------------------


def test_verify_holds_the_file_against_pytorchs_values_on_the_device(artifacts: Any, child: ChildLink) -> None:
    files = content_of(artifacts["gpt2", "fp32"])
    send_files(child, files)
    checked = ask(child, Verify(files=files.content), Verified).artifact
    assert {check.against for check in checked.checks} == {"PyTorch"}
    assert len(checked.checks) == len(artifacts["gpt2", "fp32"].checks)
    assert not any(os.sep in path for path in (*(graph.path for graph in checked.graphs), *checked.data_files))


def test_verify_finds_a_changed_weight(artifacts: Any, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(artifacts["bert", "fp32"].folder, folder)
    weights = np.memmap(folder / "model.onnx.data", np.float32, "r+")
    weights[np.argmax(np.abs(weights))] *= -3
    weights.flush()
    files = content_of(store.load_artifact(folder))
    send_files(HERE, files)
    said = r"^here: model\.onnx\.data is not the file that was exported\. Export it again"
    with pytest.raises(VerificationError, match=said):
        ask(HERE, Verify(files=files.content), Verified)


# --- requests that are wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"\x00",
        b"\xc1",
        b"\x81\xa4type\xa4evil",
        os.urandom(500),
        msgspec.msgpack.encode({"type": "put"}),
        b"\x91" * 9999,
    ],
)
def test_what_is_no_request_is_answered(request_bytes: bytes) -> None:
    reply = reply_of(handle(request_bytes), "here")
    assert isinstance(reply, Failed)
    assert reply.error == "UsageError"
    assert reply.what.startswith("The device does not understand the request (")


def test_a_digest_is_nothing_else() -> None:
    for digest in ("../" * 21 + "x", "a" * 63, "a" * 64 + "\n", "A" * 64):
        data = msgspec.msgpack.encode(Put(sha256=digest, offset=0, total_bytes=1, data=b"x"))
        reply = reply_of(handle(data), "here")
        assert isinstance(reply, Failed)
        assert reply.error == "UsageError"


def test_a_visit_reads_no_other_file_of_the_device(artifacts: Any, tmp_path: Path) -> None:
    job = job_of(artifacts["bert", "fp32"])
    files = content_of_job(job)
    send_files(HERE, files)
    visit = named_visit(Visit(job=job, round=0), files)
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros((1, 8), np.int64))
    inputs = tuple(replace(value, fill="file", file=str(secret)) for value in visit.job.inputs)
    for changed in (
        replace(visit.job, inputs=inputs),
        replace(visit.job, graph=replace(visit.job.graph, path=job.graph.path)),
    ):
        with pytest.raises(UsageError, match="is not among the files of the request"):
            ask(HERE, Measure(visit=replace(visit, job=changed), files=files.content), Measured)
    names = tuple(replace(file, name=f"../{file.name}") for file in files.content)
    with pytest.raises(UsageError, match="cannot name a file on a device"):
        ask(HERE, Measure(visit=visit, files=names), Measured)


# --- one at a time -------------------------------------------------------------------------------------


def test_two_clients_never_measure_at_once(artifacts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(artifacts["bert", "fp32"], stopping=StoppingRule(min_runs=2, min_time_s=0.2))
    send_files(HERE, content_of_job(job))
    spans: list[tuple[float, float]] = []
    seen: set[str] = set()

    def timed(visit: Visit) -> Any:
        begin = time.monotonic()
        seen.add(ask(HERE, Describe(), Described).busy_with.partition(", since")[0])
        record = measure(visit)
        spans.append((begin, time.monotonic()))
        return record

    monkeypatch.setattr("edgeprof.api.device_work.measure", timed)
    ask(HERE, Describe(), Described)  # which looks for providers, once

    def visits(client: str) -> None:
        for _ in range(2):
            ask(HERE, request_for(job, client=client), Measured)

    threads = [threading.Thread(target=visits, args=(client,)) for client in ("anna", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spans) == 4
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    label = "measures bert-tiny fp32, prefill at 8 tokens for"
    assert seen == {f"{label} anna", f"{label} ben"}


def test_who_waits_too_long_is_told(artifacts: Any) -> None:
    with turn("measures its ceilings for anna", 1):
        data = msgspec.msgpack.encode(Lacking(files=()))
        reply = reply_of(handle(data, wait_s=0.1), "here")
    assert isinstance(reply, Failed)
    assert reply.error == DeviceBusy.__name__
    assert reply.what.startswith("It is busy: measures its ceilings for anna, since ")


def test_a_device_describes_itself(child: ChildLink) -> None:
    said = ask(child, Describe(), Described)
    assert said.machine.machine_id == machine.describe().machine_id
    assert next(one for one in said.providers if one.provider == "cpu").status == "ready"
    assert {"edgeprof", "python", "onnxruntime", "numpy"} <= set(said.packages)
    assert said.free_disk_bytes > 0 < said.free_memory_bytes
    assert (said.kept_bytes, said.busy_with) == (0, "")
    with turn("measures its ceilings for anna", 1):
        assert ask(child, Describe(), Described).busy_with.startswith("measures its ceilings for anna, since ")


def test_a_busy_device_that_never_looked_for_providers_answers_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "new"))
    with turn("measures its ceilings for anna", 1):
        said = ask(HERE, Describe(at_once=True), Described)
    assert said.busy_with.startswith("measures its ceilings for anna, since ")
    assert (said.providers, said.machine.machine_id) == ((), machine.describe().machine_id)


def test_a_kept_probe_is_its_ceilings() -> None:
    file = probes.keep(threads=1)
    reply = ask(HERE, MeasureCeilings(threads=1), Probed)
    assert reply.probe == decode(store.read_bytes(file), Probe, "probe")


# --- the process behind a pipe -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end of input", "kill -9"])
def test_it_ends_with_its_client_and_leaves_nothing(artifacts: Any, how: str) -> None:
    import psutil

    job = job_of(artifacts["bert", "fp32"], stopping=StoppingRule(min_time_s=50.0))
    send_files(HERE, content_of_job(job))
    link, request = ChildLink(), request_for(job)

    def asked() -> None:
        with pytest.raises(AssertionError):
            ask(link, request, Measured)

    thread = threading.Thread(target=asked)
    thread.start()
    own = psutil.Process(link.child.pid)
    deadline = time.monotonic() + 30
    while not (below := own.children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert below
    assert link.child.stdin
    if how == "kill -9":
        link.child.kill()
    else:
        link.child.stdin.close()
    assert link.child.wait(10) == (-9 if how == "kill -9" else 0)
    thread.join(10)
    assert link.child.stdout
    link.close()
    _, alive = psutil.wait_procs(below, 10)
    assert not alive
    assert ask(HERE, Clean(), Cleaned).kept_bytes == 0


def test_the_device_needs_no_library_that_it_may_lack() -> None:
    lacking = "{'scipy', 'matplotlib', 'torch', 'dask'}"
    code = f"import sys, edgeprof.api.device_work; print(*{lacking} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_sizes_that_a_client_cannot_send_are_left_to_the_device(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["M", "K"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", values[:1], values[1:])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "mine.onnx")
    (artifact,) = any_model([str(tmp_path / "mine.onnx")], tmp_path)
    files = content_of(artifact)
    send_files(HERE, files)
    said = (
        r"^here: The size of this axis is not known: .* Run on the device itself: edgeprof verify mine\.onnx --dim K="
    )
    with pytest.raises(UsageError, match=said):
        ask(HERE, Verify(files=files.content), Verified)


def test_a_connection_that_is_reset_ends_the_device() -> None:
    near, far = socket.socketpair()
    with far:
        device = subprocess.Popen([sys.executable, "-m", "edgeprof.api.device_work"], stdin=far, stdout=far)
    try:
        with near, near.makefile("rwb") as stream:
            frames.write_frame(stream, b"hello")
            near.recv(1, socket.MSG_PEEK)  # a reply is there that nobody reads
        assert device.wait(20) == 0
    finally:
        device.kill()
        device.wait()


def test_work_that_is_broken_off_leaves_no_temporary_files(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    started = subprocess.Popen(local_command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert started.stdin
    frames.write_frame(started.stdin, msgspec.msgpack.encode(MeasureCeilings(threads=1, force=True)))
    end = time.monotonic() + 60
    while not any(own.rglob("MatMul*.onnx")) and time.monotonic() < end:
        time.sleep(0.05)
    assert any(own.rglob("MatMul*.onnx"))
    started.stdin.close()
    assert started.wait(60) == 0
    assert not list(own.iterdir())


def test_work_that_is_killed_leaves_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))
    request = msgspec.msgpack.encode(MeasureCeilings(threads=1, force=True))
    with contextlib.closing(PipeLink("local", local_command())) as link:
        asked = Asked(link, request)
        assert eventually(lambda: any(own.rglob("MatMul*.onnx")), 60)
        link.stop()
        assert "SIGKILL" in asked.error()
    assert not list(own.iterdir())
