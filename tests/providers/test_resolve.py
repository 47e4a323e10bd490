"""What --ep names: providers, kinds, libraries of the user's own; and what is said where there is none."""

from pathlib import Path

import pytest

from edgeprof.errors import EdgeprofError, UnknownName, UsageError
from edgeprof.providers import resolve as resolving
from edgeprof.providers.resolve import resolve
from edgeprof.providers.table import PROVIDERS, library_of, target
from edgeprof.schema import CPU, Device, Target


def devices_from(*devices: tuple[str, str, bool, str]) -> list[Device]:
    """Devices by provider, status, emulated and reason, as discovery would tell them."""
    rows = {row.name: row for row in PROVIDERS}
    return [
        Device(
            provider=name,
            kind=rows[name].kind,
            status=status,  # type: ignore[arg-type]
            target=target(name) if status == "ready" else None,
            emulated=emulated,
            reason=reason,
            install=rows[name].install,
            docs=rows[name].docs,
        )
        for name, status, emulated, reason in devices
    ]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux computer on x86."""
    monkeypatch.setattr(resolving, "here", lambda: "linux-x86_64")


def test_names_become_targets_in_their_order(swiftshader: None) -> None:
    webgpu, cpu, qnn = resolve(["webgpu", "cpu", "qnn", "webgpu"])
    assert (webgpu.provider, webgpu.runtime_name, webgpu.emulated) == ("webgpu", "WebGpuExecutionProvider", True)
    assert cpu == CPU
    assert (qnn.provider, qnn.static, qnn.emulated) == ("qnn", True, True)


def test_options_go_to_the_provider_they_are_meant_for(swiftshader: None) -> None:
    (alone,) = resolve(["qnn"], options={"htp_performance_mode": "burst"})
    assert alone.options == {**target("qnn").options, "htp_performance_mode": "burst"}
    assert alone.ep_options == {"htp_performance_mode": "burst"}
    webgpu, qnn = resolve(["webgpu", "qnn"], options={"webgpu.enableInt64": "0", "qnn.soc_model": "43"})
    assert webgpu.options == {"enableInt64": "0"}
    assert qnn.options == {**target("qnn").options, "soc_model": "43"}
    with pytest.raises(
        UsageError, match=r"soc_model does not name its provider\. Example: --ep-option qnn\.soc_model=60"
    ):
        resolve(["webgpu", "qnn"], options={"soc_model": "60"})


def test_a_wrong_option_is_refused_before_any_device_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "devices", lambda: pytest.fail("devices were asked for"))
    with pytest.raises(UnknownName, match="Did you mean enableInt64"):
        resolve(["webgpu"], options={"enableInt46": "1"})
    with pytest.raises(UnknownName, match=r"no option of cpu called 'threads'\. There are none here"):
        resolve(["cpu"], options={"threads": "1"})


def test_an_unknown_name_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no execution provider called 'npuu'\. Did you mean npu"):
        resolve(["npuu"])
    with pytest.raises(UnknownName, match=r"Did you mean webgpu.* edgeprof devices lists them"):
        resolve(["webgp"])


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("CUDAExecutionProvider", "cuda"),
        ("QNNExecutionProvider", "qnn or qnn-gpu"),
        ("Apple", "coreml or coreml-npu or mlx"),
        ("huawei", "cann"),
    ],
)
def test_another_name_of_a_provider_is_answered_with_ours(word: str, ours: str) -> None:
    with pytest.raises(UsageError, match=f"^In edgeprof {word} is called {ours}"):
        resolve([word])


def test_a_kind_is_its_best_device(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = devices_from(
        ("webgpu", "ready", True, ""),
        ("cuda", "ready", False, ""),
        ("directml", "ready", False, ""),
        ("qnn", "ready", True, ""),
    )
    monkeypatch.setattr(resolving, "devices", lambda: devices)
    assert [one.provider for one in resolve(["npu", "gpu", "cuda"])] == ["qnn", "cuda"]
    devices[1] = devices_from(("cuda", "no device", False, "no CUDA-capable device is detected"))[0]
    assert [one.provider for one in resolve(["gpu"])] == ["directml"]  # real before emulated
    assert resolve(["cpu"]) == [CPU]


def test_a_kind_that_is_not_there_says_what_is_missing(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = devices_from(
        ("openvino-npu", "no device", False, "Device NPU is not available"),
        ("qnn", "not installed", False, ""),
        ("coreml-npu", "not installed", False, "it exists for macos-aarch64"),
        ("webgpu", "ready", True, ""),
    )
    monkeypatch.setattr(resolving, "devices", lambda: devices)
    with pytest.raises(EdgeprofError) as refusal:
        resolve(["npu"])
    assert refusal.value.what == "No NPU is ready here (openvino-npu: Device NPU is not available; not installed: qnn)."
    assert refusal.value.next_step == "For qnn: pip install onnxruntime-qnn"


def test_a_provider_that_is_not_ready_says_why(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = devices_from(
        ("cuda", "not installed", False, ""),
        ("xnnpack", "not installed", False, ""),
        ("coreml", "not installed", False, "it exists for macos-aarch64; this is linux-x86_64"),
        ("openvino-npu", "no device", False, "Device NPU is not available"),
        ("openvino-cpu", "not installed", False, "two packages conflict"),
    )
    monkeypatch.setattr(resolving, "devices", lambda: devices)
    with pytest.raises(EdgeprofError, match=r"^openvino-cpu is not installed: two packages conflict\.$"):
        resolve(["openvino-cpu"])
    with pytest.raises(
        EdgeprofError, match=r"^cuda is not installed\. Run: pip uninstall -y onnxruntime && pip install"
    ):
        resolve(["cuda"])
    with pytest.raises(EdgeprofError, match=r"^xnnpack is not installed\. No Python package contains it"):
        resolve(["xnnpack"])
    with pytest.raises(EdgeprofError, match=r"^coreml is not available here: it exists for macos-aarch64"):
        resolve(["coreml"])
    with pytest.raises(
        EdgeprofError, match=r"^openvino-npu is installed but cannot run here: Device NPU is not available\. See http"
    ):
        resolve(["openvino-npu"])


@pytest.fixture
def library() -> Path:
    """WebGPU's, which nobody has to know by the name it is asked for here."""
    return Path(library_of(next(row for row in PROVIDERS if row.name == "webgpu")))


def test_a_library_of_ones_own_tells_what_it_drives(swiftshader: None, library: Path) -> None:
    (mine,) = resolve(["mine"], {"mine": library}, {"anything": "at all"})
    assert (mine.provider, mine.runtime_name, mine.library) == ("mine", "WebGpuExecutionProvider", str(library))
    assert mine.asynchronous  # else a time would be that of handing work over, here a thousandth of the work
    assert mine.options == {"anything": "at all"}
    assert mine.kind == "CPU"  # SwiftShader says so of itself


def test_a_library_of_a_known_provider_keeps_its_settings(swiftshader: None, library: Path, tmp_path: Path) -> None:
    copy = tmp_path / library.name
    copy.symlink_to(library)
    (own,) = resolve(["WebGpuExecutionProvider"], {"WebGpuExecutionProvider": copy})
    assert (own.provider, own.kind, own.lacks, own.emulated) == ("webgpu", "GPU", ("Attention",), True)
    with pytest.raises(UnknownName, match="no option of webgpu called 'anything'"):
        resolve(["webgpu"], {"webgpu": copy}, {"anything": "at all"})


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "libnone.so").write_text("not a library")
    with pytest.raises(EdgeprofError, match=r"mine \(.*libnone\.so\) cannot run here: onnxruntime cannot load"):
        resolve(["mine"], {"mine": tmp_path / "libnone.so"})
    with pytest.raises(UsageError, match=r"There is no library missing\.so\. Example: --ep-library mine="):
        resolve(["mine"], {"mine": Path("missing.so")})
    with pytest.raises(UsageError, match=r"The library mine is not requested\. Add it to the providers: --ep mine"):
        resolve(["cpu"], {"mine": tmp_path / "libnone.so"})


def test_a_target_is_a_record_of_its_own() -> None:
    assert isinstance(resolve(["cpu"])[0], Target)
