"""Ask a device over its link: records in, records out, and errors of the device raised here."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from edgeprof.errors import RunError, first_line, rebuilt
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Failed, Reply, Request

R = TypeVar("R")

ANSWER_S = 900.0
"""A device may work for others first, and prepare a graph: it answers within this time, and that of its visits."""


def ask(link: Link, request: Request, kind: type[R], timeout_s: float | None = None) -> R:
    """Send a request to a device, and return its reply.

    Args:
        kind: of reply that belongs to the request.

    Raises:
        EdgeprofError: the error that was raised on the device, of the same class, with the device's name.
        RunError: the reply is not what was asked for.
        DeviceLost, ChildTimeout: as `Link.ask`.
    """
    return expected(answer(link, request, timeout_s), kind, link.name)


def answer(link: Link, request: Request, timeout_s: float | None = None) -> Reply:
    """As `ask`, for requests that have several kinds of replies."""
    reply = reply_of(link.ask(msgspec.msgpack.encode(request), timeout_s), link.name)
    if isinstance(reply, Failed):
        raise rebuilt(reply.error, reply.what, reply.next_step).about(link.name)
    return reply


def expected(reply: Reply, kind: type[R], name: str) -> R:
    """The reply, which is of the kind that belongs to the request.

    Raises:
        RunError: it is of another.
    """
    if not isinstance(reply, kind):
        raise _misfit(name, f"a {type(reply).__name__} record")
    return reply


def reply_of(data: bytes, name: str) -> Reply:
    """The reply in the bytes that came from a device.

    Raises:
        RunError: they are no reply.
    """
    try:
        reply: Reply = msgspec.msgpack.decode(data, type=Reply)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise _misfit(name, first_line(problem)) from problem
    return reply


def _misfit(name: str, came: str) -> RunError:
    return RunError(f"{name} replied with what was not asked for ({came}).", "Install the same edgeprof on it.")
