"""What can run here: every provider of the table asked in a child process, and remembered for this environment."""

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
from edgeprof.process import ChildTimeout
from edgeprof.providers import installed_packages, probe, software_vulkan
from edgeprof.providers.installed_packages import Wheel
from edgeprof.providers.probe import Found, ProbeRequest
from edgeprof.providers.table import PROVIDERS, Provider, here, library_of, target
from edgeprof.schema import Device, Record, Target, decode, encode_pretty

TIMEOUT_S = 20.0
AT_ONCE = 4
"""Children: most of their time they wait for libraries to load and for drivers to compile."""

# Of the environment, what decides which devices a provider finds.
_VARIABLES = ("VK_", "ORT_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "ASCEND_", "ADSP_", "QNN_", "OV", "OPENVINO")
_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")


class Discovery(Record, frozen=True, kw_only=True):
    devices: tuple[Device, ...]


def devices(refresh: bool = False, timeout_s: float = TIMEOUT_S) -> list[Device]:
    """Every provider edgeprof knows and what became of asking for it here, in the order of the table.

    Args:
        refresh: ask again, whatever is remembered of this environment.
        timeout_s: seconds after which a provider that does not answer counts as one without a device.
    """
    file = store.cache_folder() / f"devices-{_key()}.json"
    if not refresh and file.is_file():
        with contextlib.suppress(EdgeprofError):  # of another version of edgeprof: asked again
            return list(decode(store.read_bytes(file), Discovery, str(file)).devices)
    found, whole = _ask_all(timeout_s)
    if whole:
        with contextlib.suppress(EdgeprofError):  # a folder that cannot be written: asked again next time
            store.write_atomic(file, encode_pretty(Discovery(devices=tuple(found))))
    return found


def ask(asked: Target, *, any_kind: bool = False, timeout_s: float = TIMEOUT_S) -> Found:
    """Let a provider compute a small graph in a child process; a crash or a hang is a reason like any other."""
    request = ProbeRequest(target=asked, models=probe.models(), any_kind=any_kind)
    try:
        return process.call("edgeprof.providers.probe", request, Found, timeout_s=timeout_s)
    except ChildTimeout:
        return Found(reason=f"it did not answer within {timeout_s:g} s", timed_out=True)
    except ChildError as problem:
        return Found(reason=problem.what.rstrip("."))


def _ask_all(timeout_s: float) -> tuple[list[Device], bool]:
    """Devices in the order of the table, and whether all of them answered."""
    there = installed_packages.installed()
    with ThreadPoolExecutor(AT_ONCE) as pool, _abandoned_when_interrupted(pool):

        def start(row: Provider) -> "Future[Found]":
            return pool.submit(ask, target(row.name), timeout_s=timeout_s)

        cpu = start(PROVIDERS[0])
        asked = {"cpu": cpu} | {row.name: start(row) for row in PROVIDERS if library_of(row)}
        built_in = cpu.result().built_in
        asked |= {row.name: start(row) for row in PROVIDERS[1:] if not row.plugin and row.runtime_name in built_in}
        found = {name: future.result() for name, future in asked.items()}
    whole = not any(one.timed_out for one in found.values())
    return [_device(row, found.get(row.name), there) for row in PROVIDERS], whole


@contextlib.contextmanager
def _abandoned_when_interrupted(pool: ThreadPoolExecutor) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _device(row: Provider, found: Found | None, there: Sequence[Wheel]) -> Device:
    """What is told of a row; `found` is None where it is not installed."""
    opened = found.target if found and found.computes else None
    switch = software_vulkan.next_step() if row.vulkan and found and not opened else ""
    real = opened is not None and not opened.emulated
    device = Device(
        provider=row.name,
        kind=row.kind,
        status="ready" if opened else "no device" if found else "not installed",
        target=opened,
        vendor=(found.vendor if found and real else "") or row.vendor,
        static=row.static,
        precisions=row.precisions,
        runtime=row.runtime,
        install=row.install,
        docs=row.docs,
        reason="; ".join(filter(None, (reason(row, found, there), switch))),
    )
    return replace(device, device=opened.device, emulated=opened.emulated) if opened else device


def reason(row: Provider, found: Found | None, there: Sequence[Wheel]) -> str:
    """Why a provider does not compute here, with what is known of the onnxruntime it meets; a warning where it does."""
    mixture = installed_packages.overlaid(there) if not row.plugin else ""
    if found is None:
        if here() not in row.platforms:
            return f"it exists for {' and '.join(row.platforms)}; this is {here()}"
        return mixture if any(wheel.name == row.package for wheel in there) else ""
    version = installed_packages.runtime_version(there)
    unfit = not installed_packages.fits(version, row.runtime)
    note = f"it wants onnxruntime {row.runtime}; here is {version}" if unfit else ""
    if found.computes:
        return note
    return "; ".join(part for part in (found.reason, note, mixture) if part)


# --- what is remembered --------------------------------------------------------------------------------


def _key() -> str:
    """Changes with all that decides the answer: packages, plugins, environment, interpreter, computer, the table."""
    libraries = [_stamp(path) for path in map(library_of, PROVIDERS) if path]
    variables = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES) or name in _PATHS}
    computer = (platform.node(), platform.release(), here(), sys.prefix, sys.version)
    return store.content_key(
        installed_packages.installed(), libraries, variables, software_vulkan.next_step(), computer, PROVIDERS
    )[:16]


def _stamp(path: str) -> tuple[str, int, int]:
    facts = Path(path).stat()
    return path, facts.st_size, facts.st_mtime_ns
