"""What every record is: frozen, compared by value, read and written as JSON."""

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from edgeprof.errors import EdgeprofError, RunError

SCHEMA_VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Times = Annotated[tuple[Annotated[float, msgspec.Meta(gt=0, le=1e9)], ...], msgspec.Meta(min_length=1)]

Fields = dict[str, Any]

UPGRADES: dict[int, Callable[[str, Fields], Fields]] = {}
"""From each older version to the one after it: takes the name of the record's class and its fields."""


class Record(msgspec.Struct, frozen=True):
    """Base of all records: immutable, compared by value."""


T = TypeVar("T")


def encode(record: Record) -> bytes:
    return msgspec.json.encode(record)


def encode_pretty(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes, kind: type[T], origin: str, error: type[EdgeprofError] = RunError) -> T:
    """Read one record that lay on disk; one of an older schema is converted.

    Raises:
        EdgeprofError: of the given class, with the place the record came from: it does not fit its type, says something
            twice, or was written by a newer edgeprof.
    """
    try:
        fields = json.loads(data, object_pairs_hook=_each_once)
        version = fields.get("schema_version", 1) if isinstance(fields, dict) else 1
        require_known(version, origin, error)
        for older in range(version, SCHEMA_VERSION):
            fields = {**UPGRADES[older](kind.__name__, fields), "schema_version": older + 1}
            data = msgspec.json.encode(fields)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise error(
            f"{origin} does not hold a valid {kind.__name__} record ({_shortly(problem)}).",
            "It was written by another version of edgeprof or damaged: make it again.",
        ) from problem


def require_known(version: Any, origin: str, error: type[EdgeprofError] = RunError) -> None:
    """Refuse what only a newer edgeprof can read.

    Raises:
        ValueError: that is no version at all.
    """
    if type(version) is not int or version < 1:
        raise ValueError("its `schema_version` is no version")
    if version > SCHEMA_VERSION:
        raise error(
            f"{origin} was written by a newer edgeprof (schema {version}; this one reads up to {SCHEMA_VERSION}).",
            "Upgrade edgeprof.",
        )


def _each_once(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("it says something twice")
    return fields


def _shortly(problem: Exception) -> str:
    said = "it is nested too deeply" if isinstance(problem, RecursionError) else str(problem).splitlines()[0]
    return said if len(said) < 200 else said[:200] + "..."
