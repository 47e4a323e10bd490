"""Measuring under a memory limit: whatever way memory runs out, the outcome is "out of memory", in one sentence."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from toys import make_job, save, x

from edgeprof.errors import ChildError, OutOfMemory, UsageError
from edgeprof.measure import limited_process
from edgeprof.measure.launch import measure
from edgeprof.measure.limited_process import LimitedProcess, limited
from edgeprof.measure.schedule import Job, Visit
from edgeprof.schema import Measurement, MemoryLimit

MIB = 1 << 20


def of(mib: int) -> MemoryLimit:
    return MemoryLimit(bytes=mib * MIB, kind="address space")


def visit(job: Job, limit: MemoryLimit) -> Measurement:
    return measure(Visit(job=replace(job, memory_limit=limit), round=0))


def test_a_point_that_fits_records_its_limit(toy: Path) -> None:
    record = visit(make_job(toy, (x(1, 2, 8),)), of(1024))
    assert (record.outcome.status, record.memory_limit) == ("ok", of(1024))
    assert record.outcome.reading
    assert 0 < record.outcome.reading.memory_address_peak_bytes <= 1024 * MIB


@pytest.mark.parametrize(("rows", "limit", "doing"), [(1, 64, "starting"), (1 << 24, 400, "running")])
def test_memory_that_runs_out_is_an_outcome(rows: int, limit: int, doing: str, toy: Path) -> None:
    """Before Python has imported onnxruntime; and for an input of 512 MiB."""
    outcome = visit(make_job(toy, (x(1, rows, 8),)), of(limit)).outcome
    assert (outcome.status, outcome.reading) == ("out of memory", None)
    assert outcome.error.startswith(f"Under a limit of {limit} MiB of address space: memory ran out while {doing}")
    assert "--memory-limit" in outcome.error


def test_memory_that_runs_out_inside_of_onnxruntime(tmp_path: Path) -> None:
    """One number goes in, and 1 GB comes out: an allocation of onnxruntime's own."""
    value = helper.make_tensor_value_info
    model = save(
        tmp_path / "wide.onnx",
        [helper.make_node("Expand", ["x", "shape"], ["y"])],
        [value("x", TensorProto.FLOAT, [1, 1, 1])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, 1, 1 << 28]), "shape")],
    )
    outcome = visit(make_job(model, (x(1, 1, 1),)), of(640)).outcome
    assert outcome.status == "out of memory"
    assert "memory ran out while running" in outcome.error


def test_settings_with_another_limit_are_others(toy: Path) -> None:
    job = make_job(toy, (x(1, 2, 8),))
    keys = {replace(job, memory_limit=limit).settings_key for limit in (None, of(300), of(400))}
    assert len(keys) == 3


def test_a_limit_below_the_runtime_names_the_least_that_suffices() -> None:
    with pytest.raises(UsageError, match="--memory-limit 10 MiB is less than Python and onnxruntime take") as refused:
        limited(10 * MIB)
    least = int(refused.value.next_step.split()[2].removesuffix("MiB"))
    assert limited(least * MIB).bytes == least * MIB


@pytest.mark.parametrize(
    ("code", "printed", "ends"),
    [
        (-11, "\nedgeprof: loading a.onnx\n", "memory ran out while loading a.onnx (SIGSEGV)"),
        (-6, "terminate called\n  what():  std::bad_alloc", "(what():  std::bad_alloc)"),
        (
            1,
            "OpenBLAS error: Memory allocation still failed after 10 retries",
            "memory ran out while starting (OpenBLAS",
        ),
        (127, "libpython3.so: failed to map segment from shared object\nexit", "memory ran out while starting"),
    ],
)
def test_how_a_child_ends_without_memory(code: int, printed: str, ends: str) -> None:
    assert ends in died(LimitedProcess(of(300)), code, printed).what


def test_a_parser_without_memory_ran_out_of_it() -> None:
    assert isinstance(
        died(LimitedProcess(of(300)), 1, "ValueError: field 'target' is required for AnnAssign"), OutOfMemory
    )


def test_other_ends_are_crashes() -> None:
    assert isinstance(died(LimitedProcess(of(300)), -9, ""), ChildError)  # ended by a user, or after --timeout
    assert isinstance(died(LimitedProcess(of(300)), 1, "KeyError: 'x'"), ChildError)


def died(process: LimitedProcess, code: int, printed: str) -> OutOfMemory | ChildError:
    with tempfile.TemporaryFile() as stderr:
        stderr.write(printed.encode())
        return process.died(code, stderr)


def test_the_kernel_ends_a_child_that_takes_more_than_its_group(toy: Path) -> None:
    """Where this system lets a control group be made: a real limit of the best kind, and an input of 512 MiB."""
    limit = limited(400 * MIB)
    outcome = visit(make_job(toy, (x(1, 1 << 24, 8),)), limit).outcome
    assert (outcome.status, outcome.reading) == ("out of memory", None)
    assert outcome.error.startswith(f"Under a limit of 400 MiB of {limit.counted}: memory ran out while running")


# --- control groups, as the kernel shows them ----------------------------------------------------------


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The files of a session of systemd: its slice gives memory limits, and the group of this process does not."""
    own = tmp_path / "sys/fs/cgroup/user.slice/session-1.scope"
    own.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/elsewhere\n0::/user.slice/session-1.scope\n")
    (own / "cgroup.subtree_control").write_text("")
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids")
    (own.parent / "cgroup.procs").write_text("")
    return tmp_path


def test_a_group_is_made_where_children_have_memory_limits(system: Path) -> None:
    with limited_process._group(300 * MIB, system) as group:
        assert group.parent == system / "sys/fs/cgroup/user.slice"
        assert (group / "memory.max").read_text() == str(300 * MIB)
        (group / "memory.max").unlink()  # in a real group, files go with it
    assert not group.exists()


def test_a_group_of_version_1_limits_memory_and_swap_together(system: Path) -> None:
    of_memory = system / "sys/fs/cgroup/memory/elsewhere"
    of_memory.mkdir(parents=True)
    for name in ("cgroup.procs", "memory.limit_in_bytes"):
        (of_memory / name).touch()
    with limited_process._group(300 * MIB, system) as group:
        assert group.parent == of_memory
        assert (group / "memory.limit_in_bytes").read_text() == str(300 * MIB)
        (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
        assert limited_process._kills(group) == 2


def test_without_such_a_group_the_address_space_is_limited(system: Path) -> None:
    (system / "sys/fs/cgroup/user.slice/cgroup.subtree_control").write_text("cpu pids")
    with pytest.raises(PermissionError):
        limited_process._parent(system)
    assert limited_process.kind(system) == "address space"


def test_the_kernel_says_that_it_killed_a_process(tmp_path: Path) -> None:
    process = LimitedProcess(MemoryLimit(bytes=300 * MIB, kind="cgroup"))
    process.group = tmp_path
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n")
    problem = died(process, -9, "\nedgeprof: running a.onnx\n")
    assert "Under a limit of 300 MiB of memory: memory ran out while running a.onnx (killed by" in problem.what
    (tmp_path / "memory.events").write_text("oom 0\noom_kill 0\n")
    assert isinstance(died(process, -9, ""), ChildError)
