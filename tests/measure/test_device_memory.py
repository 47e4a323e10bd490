"""Memory of a device as its driver tells it."""

import shutil
from pathlib import Path

import pytest

from edgeprof.measure.device_memory import COUNTERS, _linux, _of_process, _sum, used
from edgeprof.providers.table import target

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("1234, 512\n99, 4096\n", 512 * MIB),
        ("1234, 512\n1234, 100\n", 612 * MIB),  # on two devices
        ("99, 4096\n", None),
        ("1234, [N/A]\n", None),  # where the driver does not tell processes apart
        ("", None),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver, or so\n", None),
    ],
)
def test_the_lines_of_nvidia_smi(told: str, expected: int | None) -> None:
    assert _of_process(told, 1234) == expected


XE = """\
pos:\t0
flags:\t0100002
drm-driver:\txe
drm-client-id:\t3
drm-pdev:\t0000:03:00.0
drm-total-vram0:\t64 MiB
drm-resident-gtt:\t192 KiB
drm-resident-vram0:\t23992 KiB
drm-resident-stolen:\t0
drm-cycles-rcs:\t28257900
"""
AMD = "drm-driver: amdgpu\ndrm-client-id: 3\ndrm-pdev: 0000:0b:00.0\ndrm-memory-vram: 2 MiB\ndrm-memory-gtt: 512\n"


def open_files(folder: Path, *texts: str) -> Path:
    for number, text in enumerate(texts):
        (folder / str(number)).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([XE], (192 + 23992) * 1024),
        ([XE, XE], (192 + 23992) * 1024),  # one client, two descriptors
        ([XE, XE.replace("id:\t3", "id:\t4")], 2 * (192 + 23992) * 1024),
        ([XE, AMD], (192 + 23992) * 1024 + 2 * MIB + 512),  # two devices number their clients on their own
        ([XE.replace("23992 KiB", "unknown")], 192 * 1024),
        ([AMD.replace("memory", "resident") + AMD.replace("2 MiB", "3 MiB")], 2 * MIB + 512),  # both names of a region
        (["pos:\t0\nflags:\t02\n"], None),
        ([], None),
    ],
)
def test_what_drivers_tell_of_open_files(texts: list[str], expected: int | None, tmp_path: Path) -> None:
    assert _linux(open_files(tmp_path, *texts)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(["1048576", " 4096 "], 1_052_672), ([], None), (["Get-CimInstance : Invalid class"], None)],
)
def test_the_counters_of_windows(lines: list[str], expected: int | None) -> None:
    assert _sum(lines) == expected


def test_the_question_to_windows_names_the_process() -> None:
    assert "LIKE 'pid[_]1234[_]%'" in COUNTERS.format(pid=1234)
    assert "{ $_.DedicatedUsage + $_.SharedUsage }" in COUNTERS.format(pid=1234)


@pytest.mark.parametrize("provider", ["cpu", "webgpu", "qnn", "directml"])
def test_where_nobody_tells_there_is_no_number(provider: str) -> None:
    assert used(target(provider)) is None


def test_device_memory_is_read_from_nvidias_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "$PPID, 300"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert shutil.which("nvidia-smi") == str(tool)
    assert used(target("cuda")) == 300 * MIB
    assert used(target("webgpu")) is None
