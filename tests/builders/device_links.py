"""Links to devices that are this machine: in this process, or in a child that answers over its pipes."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping

from edgeprof.api.device_work import handle
from edgeprof.fleet import frames


class DirectLink:
    """This process."""

    name = "here"

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        return handle(request)

    def close(self) -> None:
        pass


class ChildLink:
    """A process of its own, as plain ssh starts one on a device."""

    def __init__(self, name: str = "child", environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.child = subprocess.Popen(
            [sys.executable, "-m", "edgeprof.api.device_work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        assert self.child.stdin
        assert self.child.stdout
        frames.write_frame(self.child.stdin, request)
        reply = frames.read_frame(self.child.stdout)
        assert reply is not None
        return reply

    def close(self) -> None:
        for stream in (self.child.stdin, self.child.stdout):
            assert stream
            with contextlib.suppress(BrokenPipeError):  # it was killed
                stream.close()
        self.child.wait(20)
