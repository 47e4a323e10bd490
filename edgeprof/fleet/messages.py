"""Requests to a device, and its replies: msgspec records, checked against their types on both sides.

Files go by their content: a folder of an artifact is a list of names and digests, the device says which bytes it
lacks, and these are sent, once. Paths in a request are names of such files; what a device has is known to it alone.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from edgeprof.measure.schedule import Visit
from edgeprof.schema import Artifact, Device, Machine, Measurement, Probe, Record
from edgeprof.schema.base import Count

Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class ContentFile(Record, frozen=True, kw_only=True):
    """A file, by its content, and its name in the folder in which a device puts it."""

    name: str  # relative, with "/" between parts, without ".."
    sha256: Digest
    size_bytes: Count


# --- requests ------------------------------------------------------------------------------------------


class Describe(Record, frozen=True, kw_only=True, tag="describe"):
    """What is this device, and what can it run?"""

    at_once: bool = False  # also while it works on another request: then without what it does not know yet


class Look(Record, frozen=True, kw_only=True, tag="look"):
    """What would spoil the times of this device?"""

    threads: Count
    client: str = ""  # as in Measure


class Lacking(Record, frozen=True, kw_only=True, tag="lacking"):
    """Which of these files are not there, or not complete?"""

    files: tuple[ContentFile, ...]


class Put(Record, frozen=True, kw_only=True, tag="put"):
    """A part of a file, which follows what is already there; the last one completes it, if its digest is right."""

    sha256: Digest
    offset: Count
    total_bytes: Count
    data: bytes


class Clean(Record, frozen=True, kw_only=True, tag="clean"):
    """Remove files, those not used for longest first, until at most so many bytes are kept."""

    keep_bytes: Count = 0


class Measure(Record, frozen=True, kw_only=True, tag="measure"):
    """One visit. Paths in it are names of `files`. Where one of those is not there any more, the reply is `Lacks`."""

    visit: Visit
    files: tuple[ContentFile, ...]
    least_share: float = 0.0  # of the MACs, that the provider has to run
    client: str = ""  # who asks, as others who wait are told; "": the user whose process it is on the device


class Verify(Record, frozen=True, kw_only=True, tag="verify"):
    """Hold the artifact in a folder of these files against PyTorch's values; what is not there, as in Measure."""

    files: tuple[ContentFile, ...]
    client: str = ""  # as in Measure


class MeasureCeilings(Record, frozen=True, kw_only=True, tag="probe"):
    """`edgeprof probe` on the device."""

    threads: int | None = None
    force: bool = False
    client: str = ""  # as in Measure


AT_ONCE = msgspec.msgpack.encode(Describe(at_once=True))
"""The one request that a device answers while it works on another."""

Request = Describe | Look | Lacking | Put | Clean | Measure | Verify | MeasureCeilings


# --- replies -------------------------------------------------------------------------------------------


class Described(Record, frozen=True, kw_only=True, tag="described"):
    machine: Machine
    providers: tuple[Device, ...]  # as `edgeprof devices` proves them; none: at once, and before it was ever asked
    packages: dict[str, str]  # name -> version, of what measuring needs, edgeprof among them
    free_disk_bytes: Count
    free_memory_bytes: Count
    kept_bytes: Count  # of files sent before
    temperature_c: float | None = None  # the hottest sensor; None: not reported
    busy_with: str = ""


class Looked(Record, frozen=True, kw_only=True, tag="looked"):
    spoils: str  # a sentence; "": nothing


class Lacks(Record, frozen=True, kw_only=True, tag="lacks"):
    have_bytes: dict[str, int]  # digest -> bytes that are there, of each file that is not complete


class Stored(Record, frozen=True, kw_only=True, tag="stored"):
    have_bytes: Count


class Cleaned(Record, frozen=True, kw_only=True, tag="cleaned"):
    removed_bytes: Count
    kept_bytes: Count


class Measured(Record, frozen=True, kw_only=True, tag="measured"):
    measurement: Measurement


class Verified(Record, frozen=True, kw_only=True, tag="verified"):
    artifact: Artifact  # with the new checks


class Probed(Record, frozen=True, kw_only=True, tag="probed"):
    probe: Probe


class Failed(Record, frozen=True, kw_only=True, tag="failed"):
    """The error that was raised on the device, by the name of its class."""

    error: str
    what: str
    next_step: str = ""


Reply = Described | Looked | Lacks | Stored | Cleaned | Measured | Verified | Probed | Failed
