"""Plugin providers: shared libraries that are registered with onnxruntime while it runs, and the devices they find."""

import ctypes
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof.errors import EdgeprofError
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.schema import Kind, Target

if TYPE_CHECKING:
    from onnxruntime import OrtEpDevice

_registered: dict[str, set[str]] = {}  # names of the providers in each registered library


def register(target: Target) -> "list[OrtEpDevice]":
    """Register a plugin with onnxruntime, once per process, and return the devices of the target's kind, best first.

    A built-in provider needs no registration, and has none. A plugin that finds no device is an error.

    Raises:
        EdgeprofError: the library cannot be loaded, it finds no device here, or this onnxruntime is too old.
    """
    return of_kind(devices(target), target.kind) if target.library else []


def of_kind(found: "list[OrtEpDevice]", kind: Kind) -> "list[OrtEpDevice]":
    """Those of a kind; all if there are none: an emulator, and software that stands for a GPU, report a CPU."""
    return [one for one in found if one.device.type.name == kind] or found


def devices(target: Target) -> "list[OrtEpDevice]":
    """All devices that a plugin finds, of whatever kind.

    Raises:
        EdgeprofError: as `register`.
    """
    import onnxruntime

    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise EdgeprofError(
            f"onnxruntime {onnxruntime.__version__} is too old for plugin providers.",
            "Run: pip install --upgrade onnxruntime",
        )
    if target.library not in _registered:
        preload(target)
        before = {device.ep_name for device in onnxruntime.get_ep_devices()}
        _load(target)
        after = {device.ep_name for device in onnxruntime.get_ep_devices()}
        _registered[target.library] = (after - before) | {target.runtime_name}
    names = _registered[target.library]
    found = [device for device in onnxruntime.get_ep_devices() if device.ep_name in names]
    if not found:
        raise EdgeprofError(
            f"{target.runtime_name} is installed, but finds no device here that it can use.", "Run: edgeprof devices"
        )
    return found


def preload(target: Target) -> None:
    """Load the libraries that a plugin looks up by name: the system's if there is one, else the one given."""
    for path in target.preload:
        for name in (Path(path).name, path):
            try:
                ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
                break
            except OSError:
                continue


def _load(target: Target) -> None:
    import onnxruntime

    def refusal(reason: str) -> EdgeprofError:
        advice = "Check that it is built for this machine and this onnxruntime."
        return EdgeprofError(f"onnxruntime cannot load {target.library}: {reason}.", advice)

    with ort_errors(refusal):
        onnxruntime.register_execution_provider_library(target.runtime_name, _path(target))


def _path(target: Target) -> str:
    """From the plugin's own module, which may have more to load first; unchanged for a library that a user named."""
    if not target.plugin:
        return target.library
    module: Any = importlib.import_module(target.plugin)
    get_path = getattr(module, "get_library_path", None) or getattr(module, "library_path", None)
    return str(get_path()) if get_path else target.library
