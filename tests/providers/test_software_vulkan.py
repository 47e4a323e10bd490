"""Drivers in software that lie on a machine, and how they are switched on."""

import json
from pathlib import Path

import pytest

from edgeprof.providers import discovery, software_vulkan


@pytest.fixture(autouse=True)
def _not_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES", software_vulkan.ALLOWED):
        monkeypatch.delenv(name, raising=False)


def described(file: Path, library: str = "./libvk.so", *, there: bool = True) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": {"library_path": library}}))
    if there and "/" in library:
        (file.parent / library).touch()
    return file


@pytest.mark.parametrize(
    ("name", "library"), [("vk_swiftshader_icd.json", "./libvk.so"), ("lvp_icd.x86_64.json", "libvulkan_lvp.so")]
)
def test_a_driver_in_software_is_offered_with_its_variables(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = described(tmp_path / "my drivers" / name, library)
    monkeypatch.setattr(software_vulkan, "FOLDERS", [str(tmp_path / "none"), str(file.parent)])
    assert software_vulkan.next_step() == (
        f"to run it in software, set VK_ICD_FILENAMES='{file}' ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=1"
    )


def test_what_is_switched_on_needs_no_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = described(tmp_path / "vk_swiftshader_icd.json")
    monkeypatch.setattr(software_vulkan, "FOLDERS", [str(tmp_path)])
    monkeypatch.setenv("VK_ICD_FILENAMES", str(file))
    assert software_vulkan.next_step()  # one of the two variables is not enough
    monkeypatch.setenv(software_vulkan.ALLOWED, "1")
    assert software_vulkan.next_step() == ""


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"ICD": 5}'])
def test_a_description_that_is_damaged_is_no_driver(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software_vulkan, "FOLDERS", [str(tmp_path)])
    described(tmp_path / "vk_swiftshader_icd.json", there=False)
    (tmp_path / "lvp_icd.json").write_text(content)
    (tmp_path / "nvidia_icd.json").write_text((tmp_path / "vk_swiftshader_icd.json").read_text())
    assert software_vulkan.next_step() == ""


def test_devices_name_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = described(tmp_path / "vk_swiftshader_icd.json")
    monkeypatch.setattr(software_vulkan, "FOLDERS", [str(tmp_path)])
    (device,) = (one for one in discovery.devices(refresh=True) if one.provider == "webgpu")
    switch = f"VK_ICD_FILENAMES={file} ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=1"
    assert device.reason.endswith(switch) == (device.status == "no device")
