"""Records as JSON on disk; records of an older schema are converted when they are read."""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from edgeprof.errors import EdgeprofError, RunError
from edgeprof.schema.base import SCHEMA_VERSION, Record
from edgeprof.schema.upgrades import UPGRADES, Fields

T = TypeVar("T", bound=Record)

DAMAGED = "It was written by another version of edgeprof or is damaged: create it again."


def encode(record: Record) -> bytes:
    return msgspec.json.encode(record)


def encode_pretty(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(
    data: bytes,
    kind: type[T],
    origin: str,
    error: type[EdgeprofError] = RunError,
    *,
    what: str = "",
    next_step: str = DAMAGED,
) -> T:
    """Decode one record; one of an older schema is converted.

    Args:
        origin: where it comes from.
        what, next_step: what is said of an origin that holds no such record: "is not a probe".

    Raises:
        EdgeprofError: of class `error`, with the origin of the record: it does not match its type, names a field twice,
            or was written by a newer edgeprof.
    """
    try:
        fields = json.loads(str(data, "utf-8"), object_pairs_hook=_each_once, parse_constant=_not_a_number)
        versioned = isinstance(fields, dict) and "schema_version" in kind.__struct_fields__
        version = fields.get("schema_version", 1) if versioned else SCHEMA_VERSION
        require_known(version, origin, error)
        if version == SCHEMA_VERSION:
            return msgspec.json.decode(data, type=kind)
        for older in range(version, SCHEMA_VERSION):
            fields = {**_upgraded(fields, kind, older), "schema_version": older + 1}
        return msgspec.convert(fields, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise error(
            f"{origin} {what or f'does not hold a valid {kind.__name__} record'} ({_shortly(problem)}).", next_step
        ) from problem


def require_known(version: Any, origin: str, error: type[EdgeprofError] = RunError) -> None:
    """Reject a version that this edgeprof cannot read.

    Raises:
        EdgeprofError: of class `error`: the version is newer.
        ValueError: it is not a version.
    """
    if type(version) is not int or version < 1:
        raise ValueError("its `schema_version` is not a version")
    if version > SCHEMA_VERSION:
        raise error(
            f"{origin} was written by a newer edgeprof (schema {version}; this one reads up to {SCHEMA_VERSION}).",
            "Upgrade edgeprof.",
        )


def _upgraded(fields: Fields, kind: type, version: int) -> Fields:
    """Convert fields to the next version."""
    upgrade = UPGRADES[version].get(kind)
    try:
        return upgrade(fields) if upgrade else fields
    except (LookupError, TypeError, AttributeError) as problem:  # damage that decoding would have detected
        raise ValueError(f"it is not a record of schema {version}: {problem!r}") from problem


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(f"JSON is malformed: {text} is not a number")


def _each_once(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("it has a field twice")
    return fields


def _shortly(problem: Exception) -> str:
    reason = "it is nested too deeply" if isinstance(problem, RecursionError) else str(problem).splitlines()[0]
    return reason if len(reason) < 200 else reason[:200] + "..."
