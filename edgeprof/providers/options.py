"""Options are held against what a provider documents: providers take nonsense in silence."""

import json
from collections.abc import Mapping

from edgeprof.errors import UnknownName, UsageError
from edgeprof.providers.known_options import JSON, NUMBER, PATH, TEXT
from edgeprof.providers.table import PROVIDERS, Provider


def check(row: Provider, asked: Mapping[str, str]) -> None:
    """See that a provider knows every option asked for, and takes its value.

    Raises:
        UnknownName: an option it does not document; the message offers the nearest.
        UsageError: a value it does not take, or an option that decides the device, which is the row's own.
    """
    for name, value in asked.items():
        if name not in row.known:
            raise UnknownName(f"option of {row.name}", name, row.known, f"See {row.docs}")
        if row.device.get(name, value) != value:
            raise UsageError(
                f"{row.name} is {name}={row.device[name]}, not {value}.",
                f"Choose another provider: {', '.join(siblings(row)) or 'edgeprof devices lists them'}.",
            )
        problem = wrong(value, row.known[name])
        if problem:
            raise UsageError(f"{row.name} does not take {name}={value}: {problem}.", f"See {row.docs}")


def siblings(row: Provider) -> list[str]:
    """The other devices that the same provider drives."""
    return [other.name for other in PROVIDERS if other.runtime_name == row.runtime_name and other.name != row.name]


def wrong(value: str, takes: tuple[str, ...]) -> str:
    """What is wrong with a value; "" where nothing is."""
    if takes == NUMBER:
        return (
            "" if value.removeprefix("-").isascii() and value.removeprefix("-").isdigit() else "it is no whole number"
        )
    if takes == JSON:
        return _wrong_json(value)
    if takes in (PATH, TEXT):
        return "" if value else "it is empty"
    return "" if value in takes else f"it takes {', '.join(takes)}"


def _wrong_json(value: str) -> str:
    """A file name is the usual mistake, and leaves OpenVINO's session on the CPU with only a line in the log."""
    try:
        found = json.loads(value)
    except ValueError:
        return "it takes JSON itself, not the name of a file"
    return "" if isinstance(found, dict) else "it takes a JSON object"
