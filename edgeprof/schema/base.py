"""The base of all records, and the bounds of their fields."""

from typing import Annotated

import msgspec

SCHEMA_VERSION = 2

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Times = Annotated[tuple[Annotated[float, msgspec.Meta(gt=0, le=1e9)], ...], msgspec.Meta(min_length=1)]


class Record(msgspec.Struct, frozen=True):
    """Base of all records: immutable, compared by value."""
