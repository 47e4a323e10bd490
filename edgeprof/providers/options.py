"""Check options against what a provider documents: providers ignore wrong ones silently."""

import json
from collections.abc import Mapping

from edgeprof.errors import UnknownName, UsageError
from edgeprof.providers.known_options import JSON, NUMBER, PATH, TEXT
from edgeprof.providers.table import PROVIDERS, Provider


def check(row: Provider, options: Mapping[str, str]) -> None:
    """Check that a provider documents every option, and its value.

    Raises:
        UnknownName: an option it does not document; the message offers the nearest.
        UsageError: a value it does not accept, or another value of an option that selects the row's device.
    """
    for name, value in options.items():
        if name not in row.known:
            raise UnknownName(f"option of {row.name}", name, row.known, f"See {row.docs}")
        if row.device.get(name, value) != value:
            raise UsageError(
                f"{row.name} means {name}={row.device[name]}, not {value}.",
                f"Choose another provider: {', '.join(siblings(row)) or 'run edgeprof devices'}.",
            )
        problem = wrong(value, row.known[name])
        if problem:
            raise UsageError(f"{row.name} does not accept {name}={value}: {problem}.", f"See {row.docs}")


def siblings(row: Provider) -> list[str]:
    """The other devices that the same provider drives."""
    return [other.name for other in PROVIDERS if other.runtime_name == row.runtime_name and other.name != row.name]


def wrong(value: str, accepted: tuple[str, ...]) -> str:
    """What is wrong with a value; "" where nothing is."""
    if accepted == NUMBER:
        digits = value.removeprefix("-")
        return "" if digits.isascii() and digits.isdigit() else "it is not a whole number"
    if accepted == JSON:
        return _wrong_json(value)
    if accepted in (PATH, TEXT):
        return "" if value else "it is empty"
    return "" if value in accepted else f"it accepts {', '.join(accepted)}"


def _wrong_json(value: str) -> str:
    """A file name is the usual mistake, and leaves OpenVINO's session on the CPU with only a line in the log."""
    try:
        parsed = json.loads(value)
    except ValueError:
        return "pass JSON itself, not the name of a file"
    return "" if isinstance(parsed, dict) else "pass a JSON object"
