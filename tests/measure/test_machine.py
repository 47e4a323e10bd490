"""The machine, from canned file trees of other machines and from this one."""

import os
import sys
from pathlib import Path

import numpy
import onnxruntime
import psutil
import pytest

from edgeprof.measure.machine import cores_allowed, describe, memory_limit

GIB = 2**30
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /sys")

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor @ 2.10GHz
flags\t\t: fpu sse2 fma avx avx2 avx512f avx512_vnni amx_bf16 amx_tile amx_int8 avx512_bf16

processor\t: 1
model name\t: another one
"""
RASPBERRY_PI = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes asimdhp cpuid asimddp
CPU implementer\t: 0x41
"""


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@linux
def test_an_x86_server(tmp_path: Path) -> None:
    governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    machine = describe(put(tmp_path, {"proc/cpuinfo": XEON, governor: "performance\n"}))
    assert machine.cpu == "Intel(R) Xeon(R) Processor @ 2.10GHz"
    assert machine.cpu_features == (
        *("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
    )
    assert machine.governor == "performance"


@linux
def test_an_arm_board(tmp_path: Path) -> None:
    model = "Raspberry Pi 5 Model B Rev 1.0\0"
    machine = describe(put(tmp_path, {"proc/cpuinfo": RASPBERRY_PI, "proc/device-tree/model": model}))
    assert machine.cpu == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cpu_features == ("asimd", "asimdhp", "asimddp")
    assert machine.governor == "unknown"


@linux
def test_the_id_is_of_what_must_agree(tmp_path: Path) -> None:
    one = describe(put(tmp_path / "one", {"proc/cpuinfo": XEON}))
    same = describe(put(tmp_path / "same", {"proc/cpuinfo": XEON, "proc/meminfo": "MemTotal: 1 kB"}))
    other = describe(put(tmp_path / "other", {"proc/cpuinfo": XEON.replace("amx_int8", "")}))
    assert one.machine_id == same.machine_id != other.machine_id


def test_this_machine() -> None:
    machine = describe()
    assert machine == describe()
    assert machine.cpu
    assert 1 <= machine.cores_allowed <= (os.cpu_count() or 1)
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert machine.memory_limit_bytes is None or machine.memory_limit_bytes < machine.memory_bytes
    assert (machine.versions["onnxruntime"], machine.versions["numpy"]) == (onnxruntime.__version__, numpy.__version__)
    assert machine.os


def affinity() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


V2 = "0::/user.slice/job\n"
V1 = "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("", {}, None),
        (V2, {"user.slice/job/cpu.max": "max 100000\n"}, None),
        (V2, {"user.slice/job/cpu.max": "100000 100000\n"}, 1),
        (V2, {"user.slice/job/cpu.max": "150000 100000\n"}, 1),  # whole cores: two threads would be throttled
        (V2, {"user.slice/job/cpu.max": "20000 100000\n"}, 1),  # but never none
        (V2, {"user.slice/job/cpu.max": "max 100000\n", "user.slice/cpu.max": "100000 100000\n"}, 1),
        (V2, {"user.slice/job/cpu.max": "99900000 100000\n"}, None),  # more than there are
        (V1, {"cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1", "cpu/docker/abc/cpu.cfs_period_us": "100000"}, None),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "50000", "cpu/docker/abc/cpu.cfs_period_us": "50000"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),  # a container sees its own top
    ],
)
def test_cores_are_those_of_the_affinity_cut_by_quotas(
    tmp_path: Path, groups: str, files: dict[str, str], cores: int | None
) -> None:
    root = put(
        tmp_path, {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}
    )
    assert cores_allowed(root) == (affinity() if cores is None else cores)


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("", {}, None),
        (V2, {"user.slice/job/memory.max": "max\n"}, None),
        (V2, {"user.slice/job/memory.max": f"{GIB // 4}\n"}, GIB // 4),
        (V2, {"user.slice/job/memory.max": f"{GIB // 4}\n", "user.slice/memory.max": f"{GIB // 8}\n"}, GIB // 8),
        (V2, {"memory.max": f"{GIB // 4}\n"}, GIB // 4),  # a container sees its own top
        (V1, {"memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (V1, {"memory/docker/abc/memory.limit_in_bytes": f"{GIB // 4}\n"}, GIB // 4),
        (V1, {"memory/memory.limit_in_bytes": f"{GIB // 2}\n"}, GIB // 2),
    ],
)
def test_the_tightest_memory_limit(tmp_path: Path, groups: str, files: dict[str, str], limit: int | None) -> None:
    root = put(
        tmp_path, {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}
    )
    assert memory_limit(root) == limit
