"""What a look at a machine finds, from canned readings and file trees, and once on this machine."""

import os
import sys
from pathlib import Path

import pytest

from edgeprof.measure.surroundings import LookRequest, reasons, run
from edgeprof.process import silent
from edgeprof.schema import Canaries

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /sys")
CALM = tuple(Canaries(matrices_s=0.010, vector_s=0.005) for _ in range(5))


def found(root: Path, load: float = 0.0, seen: tuple[Canaries, ...] = CALM, **options: object) -> list[str]:
    return list(reasons(load, seen, root=root, **{"on_battery": False, "threads": 1, **options}))  # type: ignore[arg-type]


def test_a_quiet_machine_has_nothing_to_say(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_other_work_is_told(tmp_path: Path) -> None:
    assert found(tmp_path, load=0.45) == ["other processes use 45 % of the processor"]
    slow = (*CALM[:4], Canaries(matrices_s=0.010, vector_s=0.009))
    assert found(tmp_path, seen=slow) == ["the speed of the memory varies by 1.8x from moment to moment"]


@linux
def test_clock_battery_and_shared_cores_are_told(tmp_path: Path) -> None:
    cpu = tmp_path / "sys/devices/system/cpu"
    (cpu / "cpu0/cpufreq").mkdir(parents=True)
    (cpu / "cpu0/cpufreq/scaling_governor").write_text("powersave\n")
    for number in os.sched_getaffinity(0):
        (cpu / f"cpu{number}/topology").mkdir(parents=True)
        (cpu / f"cpu{number}/topology/thread_siblings_list").write_text("0-1\n")
    assert found(tmp_path, on_battery=True, threads=2) == [
        "it runs on its battery",
        "its clock follows the load (governor powersave)",
        "2 threads share 1 physical core",
    ]


def test_the_canaries_of_this_machine() -> None:
    seen = run(LookRequest(threads=1), silent).canaries
    assert len(seen) == 5
    assert all(0 < one.matrices_s < 10 and 0 < one.vector_s < 10 for one in seen)
