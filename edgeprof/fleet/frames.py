"""Requests and replies over a pipe: the length in 8 bytes, the highest first, then so many bytes."""

from __future__ import annotations

from typing import BinaryIO

from edgeprof.errors import RunError

LONGEST = 256 << 20
"""Bytes of a frame; what claims to be longer is not a frame."""

HEAD = 8


def write_frame(stream: BinaryIO, data: bytes) -> None:
    """Write one frame, and flush.

    Raises:
        OSError: the other side is gone.
    """
    stream.write(len(data).to_bytes(HEAD, "big") + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read one frame; None where the stream ended before it.

    Raises:
        RunError: the stream ended within it, or what came is not a frame.
    """
    head = stream.read(HEAD)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if len(head) == HEAD and length > LONGEST:
        raise RunError("What came over the pipe is not a frame.", "Let the program at its other end print nothing.")
    data = stream.read(length) if len(head) == HEAD else b""
    if len(head) < HEAD or len(data) < length:
        raise RunError("The pipe ended in the middle of a frame.", "Ask again.")
    return data
