"""Graphs compiled ahead of time: QNN's emulator keeps what it compiles; a provider that cannot is an error."""

from pathlib import Path

import environments
import numpy as np
import pytest

from edgeprof.errors import EdgeprofError
from edgeprof.providers import probe
from edgeprof.providers.compile import compiled
from edgeprof.providers.session import open_session
from edgeprof.providers.table import here, target
from edgeprof.schema import CPU


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MatMul, Add and Softmax; caches are empty."""
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.onnx"
    file.write_bytes(probe.models()[0])
    return file


@pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="the emulator is for x86")
def test_what_qnn_compiles_is_kept_and_computes_the_same(model: Path) -> None:
    qnn = target("qnn")
    built = compiled(model, "", qnn)
    assert built.contexts == 1
    assert built.compile_s > 0
    files = [file for file in Path(built.path).parent.iterdir() if file.suffix != ".json"]
    assert built.nbytes == sum(file.stat().st_size for file in files)
    first = Path(built.path).stat().st_mtime_ns
    assert compiled(model, "", qnn) == built
    assert Path(built.path).stat().st_mtime_ns == first
    session = open_session(built.path, qnn, record_assignment=True)
    (part,) = session.get_provider_graph_assignment_info()
    assert (part.ep_name, [node.op_type for node in part.get_nodes()]) == (qnn.runtime_name, ["EPContext"])
    x = np.eye(probe.SIZE, dtype=np.float32)
    (result,) = session.run(None, {"x": x})
    assert np.abs(result - probe.expected("Softmax", x)).max() < probe.TOLERANCE


def test_another_model_is_compiled_anew(model: Path) -> None:
    first = compiled(model, "", target("qnn"))
    model.write_bytes(probe.models()[1])
    assert compiled(model, "", target("qnn")).path != first.path


def test_a_provider_that_cannot_compile_ahead_of_time_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgeprofError, match=r"cpu compiled no part of this graph\..*omit --compile"):
        compiled(model, "", CPU)
    for name, value in environments.SWIFTSHADER.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EdgeprofError, match=r"webgpu cannot compile this graph ahead of time: .*Omit --compile"):
        compiled(model, "", target("webgpu"))
    assert not list((model.parent / "cache").rglob("compiled.json"))
