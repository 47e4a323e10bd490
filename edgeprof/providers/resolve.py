"""Turn the values of `--ep` into targets that a child can open: providers, kinds of devices, users' own libraries."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof.errors import EdgeprofError, UnknownName, UsageError
from edgeprof.providers import options as known
from edgeprof.providers.discovery import devices, probe_target
from edgeprof.providers.table import PROVIDERS, Provider, find, here, row_of, target, vulkan_loader
from edgeprof.schema import CPU, Device, Kind, Target

KINDS: dict[str, Kind] = {"gpu": "GPU", "npu": "NPU"}
"""Names for a kind of device; "cpu" is the name of a provider, which is meant."""


def resolve(
    words: Sequence[str],
    library: Mapping[str, Path] | None = None,
    options: Mapping[str, str] | None = None,
    elsewhere: Sequence[Device] | None = None,
) -> list[Target]:
    """The targets that names stand for, ready to be opened, in the order of the names.

    Args:
        words: names of providers, kinds ("cpu", "gpu", "npu": the best device of that kind that is ready, a real one
            before an emulated one), names of libraries.
        library: shared libraries of plugin providers, by their name in `words`.
        options: of the requested provider, by the option's name; by "name.option" where several are requested.
        elsewhere: the providers of another machine, as it proves them; default those of this one.

    Raises:
        UnknownName: no provider has that name, or the provider has no such option; the nearest are offered.
        UsageError: an option's value is wrong, or its provider is ambiguous; a library that is not in `words`.
        EdgeprofError: a provider is not ready; the message gives the reason, and the command that installs it.
    """
    libraries, names = dict(library or {}), list(dict.fromkeys(words))
    for name in libraries:
        if name not in names:
            raise UsageError(f"The library {name} is not requested.", f"Add it to the providers: --ep {name}")
    shared = options_by_name(names, options or {})
    targets = [_target(name, libraries, shared[name], elsewhere) for name in names]
    return list({target.provider: target for target in targets}.values())  # "gpu,webgpu" may name one device twice


def options_by_name(names: Sequence[str], options: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The options of each name, requested as `name.option`, or of the only one.

    Raises:
        UsageError: several are requested, and an option does not name its own.
    """
    shared: dict[str, dict[str, str]] = {name: {} for name in names}
    for name, value in options.items():
        owner, dot, own_name = name.partition(".")
        if dot and owner in shared:
            shared[owner][own_name] = value
        elif len(names) == 1:
            shared[names[0]][name] = value
        else:
            raise UsageError(
                f"Several providers are requested, and option {name} does not name its provider.",
                f"Example: --ep-option {names[-1]}.{own_name or name}={value}",
            )
    return shared


def _target(
    word: str, libraries: Mapping[str, Path], options: Mapping[str, str], elsewhere: Sequence[Device] | None
) -> Target:
    if word in libraries:
        return _own_library(word, libraries[word], options)
    if word in KINDS:
        device = _best(KINDS[word], devices() if elsewhere is None else elsewhere)
        row = find(device.provider)
    else:
        row = _row(word)
        known.check(row, options)
        if row.name == CPU.provider:
            return CPU
        found = devices() if elsewhere is None else elsewhere
        device = next((device for device in found if device.provider == row.name), _unknown(row))
    known.check(row, options)
    return _opened(device, options)


def _row(word: str) -> Provider:
    """The row of that name; onnxruntime's name for a provider, or its vendor's, is answered with ours."""
    if row := row_of(word):
        return row
    folded = word.casefold()
    ours = [row.name for row in PROVIDERS if folded in (row.runtime_name.casefold(), row.vendor.casefold())]
    if ours:
        raise UsageError(f"In edgeprof {word} is called {' or '.join(ours)}.", f"Example: --ep {ours[0]}")
    names = [row.name for row in PROVIDERS]
    raise UnknownName("execution provider", word, [*names, *KINDS], "edgeprof devices lists them.")


def _opened(device: Device, options: Mapping[str, str]) -> Target:
    if device.target is None:
        raise EdgeprofError(*_refusal(device))
    return replace(device.target, options={**device.target.options, **options})


def _refusal(device: Device) -> tuple[str, str]:
    """Why a provider is not ready, and the next step."""
    because = f": {device.reason}" if device.reason else ""
    if device.status == "no device":
        return f"{device.provider} is installed but cannot run here{because}.", f"See {device.docs}"
    if here() not in find(device.provider).platforms:
        return f"{device.provider} is not available here{because}.", "Run: edgeprof devices"
    return f"{device.provider} is not installed{because}.", "" if device.reason else _run(device.install)


def _run(install: str) -> str:
    return f"Run: {install}" if install.startswith("pip ") else f"{install}."


def _unknown(row: Provider) -> Device:
    """A provider that the edgeprof of another machine does not know."""
    return Device(provider=row.name, kind=row.kind, status="not installed", reason="edgeprof is older there")


def _best(kind: Kind, found: Sequence[Device]) -> Device:
    """The best device of a kind: real before emulated, made for one vendor's devices before made for any."""
    of_kind = [device for device in found if device.kind == kind]
    ready = [device for device in of_kind if device.status == "ready"]
    if ready:
        return min(ready, key=lambda device: (device.emulated, find(device.provider).vendor == "any"))
    failed = [f"{device.provider}: {device.reason}" for device in of_kind if device.status == "no device"]
    missing = [device for device in of_kind if device.status == "not installed"]
    installable = [device for device in missing if here() in find(device.provider).platforms]
    names = ", ".join(device.provider for device in installable)
    because = "; ".join([*failed, *([f"not installed: {names}"] if names else [])])
    next_step = f"For {installable[0].provider}: {installable[0].install}" if installable else "Run: edgeprof devices"
    raise EdgeprofError(f"No {kind} is ready here ({because or 'no provider for one exists here'}).", next_step)


def _own_library(name: str, path: Path, options: Mapping[str, str]) -> Target:
    """A library that a user named; one that is not in the table reports its kind, and its options are not checked."""
    if not path.is_file():
        raise UsageError(f"There is no library {path}.", f"Example: --ep-library {name}=path/to/libprovider.so")
    library = str(path.resolve())
    row = next((row for row in PROVIDERS if name in (row.name, row.runtime_name)), None)
    if row:
        known.check(row, options)
        own = target(row.name, library)
    else:
        # Whether its runs return before the device is done is not known: waiting for one that is done costs nothing.
        own = Target(provider=name, runtime_name=name, library=library, preload=vulkan_loader(), asynchronous=True)
    result = probe_target(replace(own, options={**own.options, **options}), any_kind=row is None)
    if result.target is None or not result.computes:
        raise EdgeprofError(f"{name} ({path}) cannot run here: {result.reason}.", "See its documentation.")
    return result.target
