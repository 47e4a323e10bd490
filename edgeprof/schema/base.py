"""What every record is: frozen, compared by value, read and written as JSON."""

from typing import TypeVar

import msgspec

from edgeprof.errors import EdgeprofError, RunError

SCHEMA_VERSION = 1


class Record(msgspec.Struct, frozen=True):
    """Base of all records: immutable, compared by value."""


T = TypeVar("T")


def encode(record: Record) -> bytes:
    return msgspec.json.encode(record)


def encode_pretty(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes, kind: type[T], origin: str, error: type[EdgeprofError] = RunError) -> T:
    """Read one record; a record that does not fit its type is refused with the place it came from."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as problem:
        raise error(
            f"{origin} does not hold a valid {kind.__name__} record ({problem}).",
            "It was written by another version of edgeprof or damaged: make it again.",
        ) from problem
