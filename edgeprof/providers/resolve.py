"""What `--ep` names, as targets that a child can open: providers, kinds of devices, libraries of the user's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof.errors import EdgeprofError, UnknownName, UsageError
from edgeprof.providers import options as known
from edgeprof.providers.discovery import ask, devices
from edgeprof.providers.table import PROVIDERS, Provider, find, here, row_of, target, vulkan_loader
from edgeprof.schema import CPU, Device, Kind, Target

KINDS: dict[str, Kind] = {"gpu": "GPU", "npu": "NPU"}
"""Words for a kind of device; "cpu" is a provider as well, and the one that is meant."""


def resolve(
    words: Sequence[str], library: Mapping[str, Path] | None = None, options: Mapping[str, str] | None = None
) -> list[Target]:
    """The targets that words name, ready to be opened, in the order of the words.

    Args:
        words: names of providers, kinds ("cpu", "gpu", "npu": the best device of that kind that is ready, a real one
            before an emulated one), names of libraries.
        library: shared libraries of plugin providers by the name they are asked for.
        options: for the provider asked for by the option's name; "name.option" where several are.

    Raises:
        UnknownName: no provider has that name, or the provider has no such option; the nearest are offered.
        UsageError: an option's value is wrong, or it is not said whose it is; a library that nothing asks for.
        EdgeprofError: a provider is not ready; the message says why, and how to get it.
    """
    libraries, asked = dict(library or {}), list(dict.fromkeys(words))
    for name in libraries:
        if name not in asked:
            raise UsageError(f"Nothing asks for the library {name}.", f"Add it to the providers: --ep {name}")
    shared = _shared(asked, options or {})
    targets = [_target(word, libraries, shared[word]) for word in asked]
    return list({target.provider: target for target in targets}.values())  # "gpu,webgpu" may name one device twice


def _shared(asked: Sequence[str], options: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Each word's options."""
    shared: dict[str, dict[str, str]] = {word: {} for word in asked}
    for name, value in options.items():
        owner, dot, own_name = name.partition(".")
        if dot and owner in shared:
            shared[owner][own_name] = value
        elif len(asked) == 1:
            shared[asked[0]][name] = value
        else:
            raise UsageError(
                f"Several providers are asked for: whose option is {name}?",
                f"Example: --ep-option {asked[-1]}.{own_name or name}={value}",
            )
    return shared


def _target(word: str, libraries: Mapping[str, Path], options: Mapping[str, str]) -> Target:
    if word in libraries:
        return _own_library(word, libraries[word], options)
    if word in KINDS:
        device = _best(KINDS[word])
        row = find(device.provider)
    else:
        row = _row(word)
        known.check(row, options)
        if row.name == CPU.provider:
            return CPU
        device = next(device for device in devices() if device.provider == row.name)
    known.check(row, options)
    return _opened(device, options)


def _row(word: str) -> Provider:
    """The row of that name. Those who know a provider by onnxruntime's name for it, or by its vendor, are told ours."""
    if row := row_of(word):
        return row
    elsewhere = word.casefold()
    ours = [row.name for row in PROVIDERS if elsewhere in (row.runtime_name.casefold(), row.vendor.casefold())]
    if ours:
        raise UsageError(f"{word} is called {' or '.join(ours)} here.", f"Example: --ep {ours[0]}")
    names = [row.name for row in PROVIDERS]
    raise UnknownName("execution provider", word, [*names, *KINDS], "edgeprof devices lists them.")


def _opened(device: Device, options: Mapping[str, str]) -> Target:
    if device.target is None:
        raise EdgeprofError(*_refusal(device))
    return replace(device.target, options={**device.target.options, **options})


def _refusal(device: Device) -> tuple[str, str]:
    """Why a provider cannot be had, and the next step."""
    because = f": {device.reason}" if device.reason else ""
    if device.status == "no device":
        return f"{device.provider} is installed, but computes nothing here{because}.", f"See {device.docs}"
    if here() not in find(device.provider).platforms:
        return f"{device.provider} cannot be had here{because}.", "Run: edgeprof devices"
    return f"{device.provider} is not installed{because}.", "" if device.reason else _run(device.install)


def _run(install: str) -> str:
    return f"Run: {install}" if install.startswith("pip ") else f"{install}."


def _best(kind: Kind) -> Device:
    """The best device of a kind: real before emulated, made for one vendor's devices before made for any."""
    of_kind = [device for device in devices() if device.kind == kind]
    ready = [device for device in of_kind if device.status == "ready"]
    if ready:
        return min(ready, key=lambda device: (device.emulated, find(device.provider).vendor == "any"))
    there = [f"{device.provider}: {device.reason}" for device in of_kind if device.status == "no device"]
    missing = [device for device in of_kind if device.status == "not installed"]
    could = [device.provider for device in missing if here() in find(device.provider).platforms]
    told = "; ".join([*there, *([f"not installed: {', '.join(could)}"] if could else [])])
    first = next((device for device in missing if device.provider in could), None)
    next_step = f"For {first.provider}: {first.install.removeprefix('Run: ')}" if first else "Run: edgeprof devices"
    raise EdgeprofError(f"No {kind} is ready here ({told or 'no provider for one exists here'}).", next_step)


def _own_library(name: str, path: Path, options: Mapping[str, str]) -> Target:
    """A library that the table does not know: what it drives, it tells itself. Its options cannot be checked."""
    if not path.is_file():
        raise UsageError(f"There is no library {path}.", f"Example: --ep-library {name}=path/to/libprovider.so")
    library = str(path.resolve())
    row = next((row for row in PROVIDERS if name in (row.name, row.runtime_name)), None)
    if row:
        known.check(row, options)
        asked = target(row.name, library)
    else:
        # Whether its runs return before the device is done nobody knows: waiting for one that is done costs nothing.
        asked = Target(provider=name, runtime_name=name, library=library, preload=vulkan_loader(), asynchronous=True)
    found = ask(replace(asked, options={**asked.options, **options}), any_kind=row is None)
    if found.target is None or not found.computes:
        raise EdgeprofError(f"{name} ({path}) computes nothing here: {found.reason}.", "See its documentation.")
    return found.target
