"""Providers are asked in children, for real: WebGPU on SwiftShader, QNN on its emulator, and what is not there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import environments
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from edgeprof import store
from edgeprof.providers import discovery, probe
from edgeprof.providers.discovery import probe_target
from edgeprof.providers.probe import ProbeRequest
from edgeprof.providers.table import PROVIDERS, Provider, here, target
from edgeprof.schema import CPU, Device

ABSENT = [row for row in PROVIDERS if row.name not in ("cpu", "webgpu") and row.package != "onnxruntime-qnn"]


@pytest.fixture(scope="module")
def discovered() -> Iterator[dict[str, Device]]:
    """Every row, asked once, in the environment of the software devices."""
    if not environments.SWIFTSHADER:
        pytest.skip("no SwiftShader: make test finds or fetches it")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environments.SWIFTSHADER.items():
            patch.setenv(name, value)
        yield {device.provider: device for device in discovery.devices(refresh=True)}


def test_every_row_is_listed_in_the_order_of_the_table(discovered: dict[str, Device]) -> None:
    assert list(discovered) == [row.name for row in PROVIDERS]
    for row in PROVIDERS:
        device = discovered[row.name]
        assert (device.kind, device.static, device.precisions) == (row.kind, row.static, row.precisions)
        assert (device.runtime, device.install, device.docs) == (row.runtime, row.install, row.docs)


def test_the_cpu_is_ready_and_real(discovered: dict[str, Device]) -> None:
    device = discovered["cpu"]
    assert (device.status, device.emulated, device.reason) == ("ready", False, "")
    assert device.target is not None
    assert device.device.endswith("CPU")


def test_webgpu_computes_on_swiftshader_and_is_emulated(discovered: dict[str, Device]) -> None:
    device = discovered["webgpu"]
    assert (device.status, device.emulated, device.reason) == ("ready", True, "")
    assert device.device == "Vulkan device in software (vk_swiftshader_icd)"
    opened = device.target
    assert opened is not None
    assert opened.emulated and opened.asynchronous and not opened.static
    assert opened.options == {"enableInt64": "1"}
    assert Path(opened.library).is_file()


@pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="the emulator is for x86")
def test_qnn_computes_on_its_emulator(discovered: dict[str, Device]) -> None:
    device = discovered["qnn"]
    assert (device.status, device.emulated, device.static) == ("ready", True, True)
    assert (device.device, device.vendor) == ("HTP emulator", "Qualcomm")
    opened = device.target
    assert opened is not None
    assert opened == replace(target("qnn"), device="HTP emulator")


@pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="there is such a GPU on ARM alone")
def test_qnn_without_its_gpu_gives_the_reason_of_the_runtime(discovered: dict[str, Device]) -> None:
    device = discovered["qnn-gpu"]
    assert (device.status, device.target) == ("no device", None)
    assert "Backend failed to initialize" in device.reason


@pytest.mark.parametrize("row", ABSENT, ids=lambda row: row.name)
def test_what_is_not_installed_says_where_it_is_available(discovered: dict[str, Device], row: Provider) -> None:
    device = discovered[row.name]
    if device.status != "not installed":
        pytest.skip("it is installed here")
    assert device.target is None
    if here() in row.platforms:
        assert device.reason == ""
    else:
        assert device.reason == f"it exists for {' and '.join(row.platforms)}; this is {here()}"


def test_devices_are_cached_until_they_are_probed_again(
    swiftshader: None, discovered: dict[str, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a child was started")

    with monkeypatch.context() as patch:
        patch.setattr(discovery, "probe_target", refuse)
        assert discovery.devices() == list(discovered.values())
        with pytest.raises(AssertionError):
            discovery.devices(refresh=True)
        patch.setenv("ORT_SOMETHING_ELSE", "1")
        with pytest.raises(AssertionError):
            discovery.devices()


def test_a_cache_of_another_version_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path))
    monkeypatch.setattr(discovery, "_probe_all", lambda timeout_s: ([], True))
    assert discovery.devices() == []
    (file,) = tmp_path.iterdir()
    file.write_text('{"devices": [{"provider": 1}]}')
    assert discovery.devices() == []
    assert file.read_text() != '{"devices": [{"provider": 1}]}'


def test_without_a_software_device_webgpu_says_that_it_finds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environments.SWIFTSHADER:
        monkeypatch.delenv(name, raising=False)
    discovered = probe_target(target("webgpu"))
    if discovered.computes:
        pytest.skip("there is a GPU here")
    assert discovered.reason == "WebGpuExecutionProvider is installed, but finds no device here that it can use"


def plugin(folder: Path, package: str, library: str, body: str) -> None:
    """A plugin whose module does this when it is asked for its library."""
    (folder / package).mkdir()
    (folder / package / library).write_bytes(b"")
    (folder / package / "__init__.py").write_text(f"import os, time\ndef get_library_path():\n    {body}\n")


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which this process and its children import."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_provider_that_kills_the_interpreter_costs_its_line_alone(plugins: Path) -> None:
    plugin(plugins, "onnxruntime_ep_mlx", "libonnxruntime_mlx_ep.so", "os.abort()")
    discovered = {device.provider: device for device in discovery.devices()}
    assert discovered["mlx"].status == "no device"
    assert discovered["mlx"].reason.startswith("The child process ended with signal SIGABRT")
    assert discovered["cpu"].status == "ready"
    assert len(list((plugins / "cache").iterdir())) == 1


def test_a_provider_that_hangs_is_given_up(plugins: Path) -> None:
    plugin(plugins, "onnxruntime_ggml", "libonnxruntime_ggml.so", "time.sleep(600)")
    discovered = probe_target(target("ggml"), timeout_s=2)
    assert (discovered.computes, discovered.timed_out, discovered.reason) == (
        False,
        True,
        "it did not reply within 2 s",
    )


def test_an_answer_that_did_not_come_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path))
    discovered = discovery.devices(timeout_s=0.01)
    assert (discovered[0].status, discovered[0].reason) == ("no device", "it did not reply within 0.01 s")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_result_is_not_ready() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [probe.SIZE, probe.SIZE])
    y = helper.make_tensor_value_info("Softmax", TensorProto.FLOAT, [probe.SIZE, probe.SIZE])
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["Softmax"])], "other", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    discovered = probe.probe(ProbeRequest(target=CPU, models=(model.SerializeToString(),)), lambda *_: None)
    assert not discovered.computes
    assert discovered.reason.startswith("its result is wrong: a small graph is off by 0.")


def test_one_graph_that_runs_is_enough() -> None:
    discovered = probe.probe(ProbeRequest(target=CPU, models=(b"no model", probe.models()[1])), lambda *_: None)
    assert discovered.computes
    assert "CPUExecutionProvider" in discovered.built_in


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", "/some/where")
    assert store.cache_folder() == Path("/some/where")
    monkeypatch.delenv("EDGEPROF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/users/cache")
    assert store.cache_folder() == Path("/users/cache/edgeprof")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.cache_folder() == Path.home() / ".cache" / "edgeprof"
