"""A device that can be asked, however the bytes get there."""

from __future__ import annotations

from typing import Protocol

from edgeprof.errors import DeviceLost


class Link(Protocol):
    """A way to one device. `edgeprof.fleet.messages` has what is asked and answered, as MessagePack.

    A device works on one request at a time, in the order in which they come; an agent describes itself meanwhile.
    """

    name: str

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        """Send a request, and wait for its reply.

        Raises:
            DeviceLost: the device went away, or was never there.
            ChildTimeout: no reply within `timeout_s` seconds; the device works on it no longer.
        """
        ...

    def close(self) -> None:
        """Nothing is left running for this client."""
        ...


def not_asked(name: str) -> DeviceLost:
    """What is said of a request to a link that was closed."""
    return DeviceLost(f"{name} is not asked any more.")
