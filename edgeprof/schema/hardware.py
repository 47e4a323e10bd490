"""What `make hardware` found of a provider on a machine that has its device: one file that can be sent and kept."""

from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds
from edgeprof.schema.derived import Point
from edgeprof.schema.machine import Machine
from edgeprof.schema.placement import Device


class ProvokedFailure(Record, frozen=True, kw_only=True):
    """A request that has to fail, and how it did."""

    what: str
    message: str  # as the user saw it
    expected: bool  # it failed as it has to


class HardwareReport(Record, frozen=True, kw_only=True):
    """Small models on one device: an encoder, a decoder and an image classifier, in what the provider accepts."""

    schema_version: int = SCHEMA_VERSION
    device: Device  # as `edgeprof devices` proved it
    machine: Machine
    install: tuple[str, ...] = ()  # the commands that installed the provider
    packages: dict[str, str]  # name -> version, of its environment
    started_at: str  # ISO 8601, UTC
    took_s: Seconds
    tokens: tuple[Count, ...]  # lengths that were asked for
    points: tuple[Point, ...]
    failures: tuple[ProvokedFailure, ...] = ()
    problems: tuple[str, ...] = ()  # what was not as it has to be

    @property
    def on(self) -> str:
        """The device in a few words, with what spoils the report."""
        name = self.machine.cpu if self.device.kind == "CPU" else self.device.device
        remarks = ["emulated"] if self.device.emulated else []
        remarks += ["with problems"] if self.problems else []
        return f"{name} ({', '.join(remarks)})" if remarks else name
