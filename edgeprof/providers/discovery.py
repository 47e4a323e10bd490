"""What can run here: every provider of the table probed in a child process, and cached for this environment."""

import contextlib
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from msgspec.structs import replace

from edgeprof import process, store
from edgeprof.errors import ChildError, EdgeprofError
from edgeprof.process import LOCAL, ChildTimeout, Executor
from edgeprof.providers import installed_packages, probe, software_vulkan
from edgeprof.providers.installed_packages import Wheel
from edgeprof.providers.probe import ProbeRequest, ProbeResult
from edgeprof.providers.table import PROVIDERS, Provider, here, library_of, target
from edgeprof.schema import Device, Record, Target, decode, encode_pretty

TIMEOUT_S = 20.0
AT_ONCE = 4
"""Child processes: most of the time they wait for libraries to load and for drivers to compile."""

# Environment variables that decide which devices a provider finds.
_VARIABLES = ("VK_", "ORT_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "ASCEND_", "ADSP_", "QNN_", "OV", "OPENVINO")
_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")


class Discovery(Record, frozen=True, kw_only=True):
    devices: tuple[Device, ...]


def devices(refresh: bool = False, timeout_s: float = TIMEOUT_S) -> list[Device]:
    """Every provider edgeprof knows and whether it computes here, in the order of the table.

    Args:
        refresh: probe again, even where a result is cached for this environment.
        timeout_s: seconds after which a provider that does not reply counts as one without a device.
    """
    if not refresh and (kept := kept_devices()) is not None:
        return kept
    found, complete = _probe_all(timeout_s)
    if complete:
        with contextlib.suppress(EdgeprofError):  # a folder that cannot be written: probed again next time
            store.write_atomic(_file(), encode_pretty(Discovery(devices=tuple(found))))
    return found


def kept_devices() -> list[Device] | None:
    """What `devices` found in this environment before; None if it was never asked, or by another edgeprof."""
    file = _file()
    with contextlib.suppress(EdgeprofError):
        return list(decode(store.read_bytes(file), Discovery, str(file)).devices) if file.is_file() else None
    return None


def probe_target(
    target: Target, *, any_kind: bool = False, timeout_s: float = TIMEOUT_S, executor: Executor = LOCAL
) -> ProbeResult:
    """Let a provider compute a small graph in a child process; a crash or a hang is a reason like any other."""
    request = ProbeRequest(target=target, models=probe.models(), any_kind=any_kind)
    try:
        return process.call("edgeprof.providers.probe", request, ProbeResult, timeout_s=timeout_s, executor=executor)
    except ChildTimeout:
        return ProbeResult(reason=f"it did not reply within {timeout_s:g} s", timed_out=True)
    except ChildError as problem:
        return ProbeResult(reason=problem.what.rstrip("."))


def _probe_all(timeout_s: float) -> tuple[list[Device], bool]:
    """Devices in the order of the table, and whether all of them replied."""
    wheels = installed_packages.installed()
    with ThreadPoolExecutor(AT_ONCE) as pool, _cancelled_when_interrupted(pool):

        def start(row: Provider) -> "Future[ProbeResult]":
            return pool.submit(probe_target, target(row.name), timeout_s=timeout_s)

        cpu = start(PROVIDERS[0])
        probes = {"cpu": cpu} | {row.name: start(row) for row in PROVIDERS if library_of(row)}
        built_in = cpu.result().built_in
        probes |= {row.name: start(row) for row in PROVIDERS[1:] if not row.plugin and row.runtime_name in built_in}
        results = {name: future.result() for name, future in probes.items()}
    complete = not any(result.timed_out for result in results.values())
    return [_device(row, results.get(row.name), wheels) for row in PROVIDERS], complete


@contextlib.contextmanager
def _cancelled_when_interrupted(pool: ThreadPoolExecutor) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _device(row: Provider, result: ProbeResult | None, wheels: Sequence[Wheel]) -> Device:
    """The device of a row; `result` is None where its package is not installed."""
    ready = result.target if result and result.computes else None
    advice = software_vulkan.next_step() if row.vulkan and result and not ready else ""
    real = ready is not None and not ready.emulated
    device = Device(
        provider=row.name,
        kind=row.kind,
        status="ready" if ready else "no device" if result else "not installed",
        target=ready,
        vendor=(result.vendor if result and real else "") or row.vendor,
        static=row.static,
        precisions=row.precisions,
        runtime=row.runtime,
        install=row.install,
        docs=row.docs,
        reason="; ".join(filter(None, (reason(row, result, wheels), advice))),
    )
    return replace(device, device=ready.device, emulated=ready.emulated) if ready else device


def reason(row: Provider, result: ProbeResult | None, wheels: Sequence[Wheel]) -> str:
    """Why a provider does not compute here, and whether its onnxruntime fits; a warning where it does compute."""
    conflict = installed_packages.conflict(wheels) if not row.plugin else ""
    if result is None:
        if here() not in row.platforms:
            return f"it exists for {' and '.join(row.platforms)}; this is {here()}"
        return conflict if any(wheel.name == row.package for wheel in wheels) else ""
    version = installed_packages.runtime_version(wheels)
    unfit = not installed_packages.fits(version, row.runtime)
    note = f"it needs onnxruntime {row.runtime}; {version} is installed" if unfit else ""
    if result.computes:
        return note
    return "; ".join(part for part in (result.reason, note, conflict) if part)


# --- the cache -----------------------------------------------------------------------------------------


def _file() -> Path:
    return store.cache_folder() / f"devices-{_key()}.json"


def _key() -> str:
    """A digest of everything that decides the result: packages, plugins, environment, interpreter, computer, table."""
    libraries = [_stamp(path) for path in map(library_of, PROVIDERS) if path]
    variables = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES) or name in _PATHS}
    computer = (platform.node(), platform.release(), here(), sys.prefix, sys.version)
    return store.content_key(
        installed_packages.installed(), libraries, variables, software_vulkan.next_step(), computer, PROVIDERS
    )[:16]


def _stamp(path: str) -> tuple[str, int, int]:
    facts = Path(path).stat()
    return path, facts.st_size, facts.st_mtime_ns
