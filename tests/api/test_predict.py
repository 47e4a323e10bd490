"""`predict` on files: memory of the device, refusals, devices on paper, JSON."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from builders import invented_probe, layer_graph
from msgspec.structs import replace

import edgeprof
from edgeprof.analysis import prediction
from edgeprof.cli.predict import predict as command
from edgeprof.errors import EdgeprofError, UsageError
from edgeprof.measure import machine, runtime_memory
from edgeprof.schema import Predictions, Probe, Work, WorkTime, encode

TIMES = (
    invented_probe.product(4, 8, 8, 1e-6),
    invented_probe.rows("LayerNormalization", 4, 8, 1e-6),
    *(invented_probe.rows(name, 4, 8, 1e-6) for name in ("Softmax", "Gather", "Relu", "Add", "Mul", "Transpose")),
    invented_probe.time(
        Work(
            operator="MatMul",
            precision="fp32",
            sizes={"rows": 4, "inner": 4, "columns": 4, "matrices": 2},
            macs=128,
            activation_bytes=384,
        ),
        1e-6,
    ),
)
MIB = 1 << 20
BOARD = """
name = "board"
gb_per_s = 1
memory_mb = 1
[gflops]
fp32 = 1
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "decoder.onnx"
    file.write_bytes(layer_graph.model().SerializeToString())
    return file


def written(folder: Path, seen: Probe) -> Path:
    file = folder / "device.json"
    file.write_bytes(encode(seen))
    return file


def test_points_are_predicted_with_the_memory_of_the_device(model: Path, tmp_path: Path) -> None:
    file = written(tmp_path, invented_probe.probe(*TIMES))
    answer = edgeprof.predict([str(model)], device=file, seq=[16, 4, 64])
    assert [point.load.tokens for point in answer.points] == [4, 16, 64]
    assert (answer.basis, answer.threads, answer.provider) == ("probe", 2, "cpu")
    seconds = [point.latency.best_s for point in answer.points]
    assert seconds == sorted(seconds) and seconds[0] < seconds[-1]
    for point in answer.points:
        latency, memory = point.latency, point.memory
        assert memory is not None and latency.low_s is not None and latency.high_s is not None
        assert latency.low_s < latency.best_s < latency.high_s
        assert sum(latency.operators.values()) + latency.run_s == pytest.approx(latency.best_s)
        assert memory.runtime_bytes == 50_000_000 + 10_000_000 + 3_000_000
        assert point.fits is None, "the memory of that machine is not recorded"


def test_the_interval_of_memory_holds_a_file_in_small_pages(tmp_path: Path) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (int64[1, sequence_length] x) => (float[1, sequence_length, 256] y) { y = Gather(w, x) }
    """
    graph = onnx.parser.parse_model(text)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((4096, 256), np.float32), "w"))
    onnx.save(graph, tmp_path / "lookup.onnx", save_as_external_data=True, location="lookup.data", size_threshold=0)
    seen = replace(invented_probe.probe(*TIMES), window_bytes=2 * MIB)
    (point,) = edgeprof.predict([str(tmp_path / "lookup.onnx")], device=written(tmp_path, seen), seq=[1]).points
    assert point.memory
    assert point.memory.weights_beside_bytes == 2 * MIB - 64 * 1024, "one row of 1 KiB, in a page of 2 MiB or of 64 KiB"
    assert point.memory_low_bytes == round((point.memory.peak_bytes - 2 * MIB + 64 * 1024) * 0.9)
    assert point.memory_high_bytes == round(point.memory.peak_bytes * 1.1)


def test_loading_counts_from_what_the_device_has_loaded(model: Path, tmp_path: Path) -> None:
    seen = invented_probe.probe(*TIMES)
    more = replace(seen, imports_bytes=seen.imports_bytes + 1_000_000)
    peaks = [
        edgeprof.predict([str(model)], device=written(tmp_path, one), seq=[4]).points[0].memory for one in (seen, more)
    ]
    assert peaks[0] and peaks[1]
    assert peaks[1].load_peak_bytes - peaks[0].load_peak_bytes == 1_000_000
    assert peaks[0].load_peak_bytes >= 60_000_000 and runtime_memory.read(2).loaded_bytes > 10**7


def test_what_the_probe_did_not_see_is_refused(model: Path, tmp_path: Path) -> None:
    file = written(tmp_path, invented_probe.probe(*TIMES))
    for expected, keywords in {
        "saw the provider cpu, not webgpu": {"ep": "webgpu"},
        "was measured with 2 threads, not 1.": {"threads": 1},
    }.items():
        with pytest.raises(UsageError, match=expected):
            edgeprof.predict([str(model)], device=file, seq=[4], **keywords)
    old = written(tmp_path, invented_probe.probe(*TIMES, edition=1))
    with pytest.raises(UsageError, match="earlier edgeprof"):
        edgeprof.predict([str(model)], device=old, seq=[4])
    with pytest.raises(UsageError, match=r"bert-tiny is not exported yet\. Run: edgeprof export bert-tiny"):
        edgeprof.predict(["bert-tiny"], device=file, seq=[4], models=tmp_path)
    with pytest.raises(UsageError, match="needs one device"):
        edgeprof.predict([str(model)], seq=[4])


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"schema_version": 2, "points": []}'])
def test_a_file_that_is_no_probe_is_refused(text: str, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "device.json"
    file.write_text(text)
    with pytest.raises(UsageError) as problem:
        edgeprof.predict([str(model)], device=file, seq=[4])
    assert problem.value.what.startswith(f"{file} is not a probe of a device (")
    assert problem.value.next_step == "Make one on the device: edgeprof probe --out FILE"


def test_a_probe_of_a_newer_edgeprof_is_refused(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "device.json"
    file.write_bytes(encode(replace(invented_probe.probe(*TIMES), schema_version=99)))
    with pytest.raises(EdgeprofError, match="was written by a newer edgeprof"):
        edgeprof.predict([str(model)], device=file, seq=[4])


def test_options_for_devices_are_not_mixed_up(model: Path, tmp_path: Path) -> None:
    probe, paper = written(tmp_path, invented_probe.probe(*TIMES)), tmp_path / "board.toml"
    paper.write_text(BOARD)
    with pytest.raises(UsageError, match=r"is not a probe.* Use --on-paper for a device described in TOML\."):
        edgeprof.predict([str(model)], device=paper, seq=[4])
    with pytest.raises(UsageError, match=r"does not describe a device.* Use --device for the file of a probe\."):
        edgeprof.predict([str(model)], on_paper=probe, seq=[4])


def test_a_device_on_paper(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_text(BOARD)
    answer = edgeprof.predict([str(model)], on_paper=file, seq=[4])
    (point,) = answer.points
    assert (answer.basis, point.basis, point.latency.low_s, point.fits) == ("on paper", "on paper", None, False)
    file.write_text(BOARD.replace("memory_mb", "memory_gb"))
    with pytest.raises(UsageError, match=r"memory_gb.*It has name, gb_per_s and \[gflops\]"):
        edgeprof.predict([str(model)], on_paper=file, seq=[4])
    file.write_text("name = ")
    with pytest.raises(UsageError, match="does not describe a device"):
        edgeprof.predict([str(model)], on_paper=file, seq=[4])


def test_another_runtime_on_the_device_is_told(model: Path, tmp_path: Path) -> None:
    older = replace(machine.describe(), versions={"onnxruntime": "1.2.3"})
    file = written(tmp_path, replace(invented_probe.probe(*TIMES), machine=older))
    answer = edgeprof.predict([str(model)], device=file, seq=[4])
    assert "The device has onnxruntime 1.2.3" in answer.notes[0]
    assert answer.points[0].fits is True


def test_what_a_probe_notes_is_said_of_the_device(model: Path, tmp_path: Path) -> None:
    noted = replace(invented_probe.probe(*TIMES), notes=("This machine is not quiet: it is busy.",))
    answer = edgeprof.predict([str(model)], device=written(tmp_path, noted), seq=[4])
    assert "When the device was probed: This machine is not quiet: it is busy." in answer.notes


def test_the_command_shows_intervals_or_says_on_paper(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, invented_probe.probe(*TIMES))
    command([str(model)], device=file, seq="4,64")
    shown = capsys.readouterr().out
    assert "assumed" not in shown
    monkeypatch.setattr(prediction, "ERRORS", {})
    command([str(model)], device=file, seq="4,64")
    assert "Intervals are assumed for fp32 prefill" in capsys.readouterr().out
    for words in (
        "interval",
        "usual",
        "2 threads",
        "prefill at 64 tokens",
        "beyond the probe",
        "size beyond",
    ):
        assert words in shown
    command([str(model)], device=file, seq="4", json=True)
    answer = msgspec.json.decode(capsys.readouterr().out, type=Predictions)
    assert answer == edgeprof.predict([str(model)], device=file, seq=[4])
    paper = tmp_path / "board.toml"
    paper.write_text(BOARD)
    command([str(model)], on_paper=paper, seq="4")
    shown = capsys.readouterr().out
    assert "latency on paper" in shown and "95 %" not in shown and "does not fit the memory" in shown


def test_times_of_a_probe_are_records() -> None:
    assert all(isinstance(time, WorkTime) for time in TIMES)
