"""Which onnxruntime is wheels, and what is message where two of them lie over each other."""

from pathlib import Path

import pytest

from edgeprof.providers import installed_packages
from edgeprof.providers.discovery import reason
from edgeprof.providers.installed_packages import conflict, fits, installed, numbers, runtime_version
from edgeprof.providers.probe import ProbeResult
from edgeprof.providers.table import find, here


def put(folder: Path, name: str, version: str, *files: str) -> None:
    """The traces that pip leaves of an installed package."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_two_conflicting_runtimes_are_reported_with_the_commands_that_fix_them(tmp_path: Path) -> None:
    put(tmp_path, "onnxruntime", "1.32.0", "onnxruntime/__init__.py", "onnxruntime/capi/_ld_preload.py")
    put(tmp_path, "onnxruntime_openvino", "1.24.1", "onnxruntime/__init__.py")
    put(tmp_path, "onnxruntime_qnn", "2.7.0", "onnxruntime_qnn/__init__.py")
    wheels = installed([str(tmp_path)])
    assert [(wheel.name, wheel.version, wheel.runtime) for wheel in wheels] == [
        ("onnxruntime", "1.32.0", True),
        ("onnxruntime-openvino", "1.24.1", True),
        ("onnxruntime-qnn", "2.7.0", False),
    ]
    message = (
        "onnxruntime 1.32.0 and onnxruntime-openvino 1.24.1 conflict: both install into the folder "
        "onnxruntime, and what runs is a mixture of them. Run: pip uninstall -y onnxruntime onnxruntime-openvino, "
        "then one of them: pip install onnxruntime-openvino or pip install onnxruntime"
    )
    assert conflict(wheels) == message
    broken = ProbeResult(reason="onnxruntime itself does not start")
    assert reason(find("cpu"), broken, wheels) == f"onnxruntime itself does not start; {message}"
    hidden = find("openvino-cpu")
    if here() in hidden.platforms:
        assert reason(hidden, None, wheels) == message  # installed, and overwritten
        assert reason(find("cuda"), None, wheels) == ""  # not installed


def test_one_runtime_with_plugins_is_in_order(tmp_path: Path) -> None:
    put(tmp_path, "onnxruntime_gpu", "1.31.1", "onnxruntime/__init__.py")
    put(tmp_path, "onnxruntime_ep_webgpu", "0.4.0", "onnxruntime_ep_webgpu/__init__.py")
    wheels = installed([str(tmp_path)])
    assert conflict(wheels) == ""
    assert runtime_version(wheels) == "1.31.1"


def test_runtimes_in_two_folders_do_not_touch_each_other(tmp_path: Path) -> None:
    put(tmp_path / "one", "onnxruntime", "1.32.0", "onnxruntime/__init__.py")
    put(tmp_path / "other", "onnxruntime_gpu", "1.31.1", "onnxruntime/__init__.py")
    assert conflict(installed([str(tmp_path / "one"), str(tmp_path / "other")])) == ""


def test_the_environment_of_the_tests_has_no_conflict() -> None:
    wheels = installed()
    assert conflict(wheels) == ""
    assert {"onnxruntime", "onnxruntime-ep-webgpu", "onnxruntime-qnn"} <= {wheel.name for wheel in wheels}


def test_an_onnxruntime_that_is_too_old_for_a_plugin_is_a_reason(tmp_path: Path) -> None:
    put(tmp_path, "onnxruntime", "1.22.1", "onnxruntime/__init__.py")
    refused = ProbeResult(reason="The given version [24] is not supported")
    message = "The given version [24] is not supported; it needs onnxruntime >=1.24; 1.22.1 is installed"
    assert reason(find("webgpu"), refused, installed([str(tmp_path)])) == message


@pytest.mark.parametrize(
    ("version", "expected", "right"),
    [
        ("1.32.0", "", True),
        ("1.24.2", ">=1.24.2", True),
        ("1.24.1", ">=1.24.2", False),
        ("1.30.0", ">=1.29,<1.31", True),
        ("1.31.0", ">=1.29,<1.31", False),
        ("1.9", ">=1.24", False),
    ],
)
def test_versions_are_compared_number_by_number(version: str, expected: str, right: bool) -> None:
    assert fits(version, expected) is right


def test_what_follows_the_numbers_of_a_version_does_not_count() -> None:
    assert numbers("1.22.2.post3") == (1, 22, 2)
    assert installed_packages.runtime_version([]) == ""
