import os
import sys
from typing import Annotated

import typer

from edgeprof.schema import Device
from edgeprof.text import visible

WIDE = 160
"""Terminal columns needed to show shapes, precisions, versions, and where it was tried, too."""

EXERCISED = 24
"""Of them, for the devices that a provider was run on by `make hardware`."""

GAP = 2
"""Between two columns of a table."""


def devices(
    refresh: Annotated[bool, typer.Option("--refresh", help="Probe again instead of showing earlier results.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the execution providers, and which of them can run here."""
    import edgeprof
    from edgeprof.api.devices import package_conflict
    from edgeprof.cli import console

    known = edgeprof.devices(refresh=refresh)
    if json:
        console.show_json(known)
    else:
        _show(known)
    if conflict := package_conflict():
        typer.echo(f"edgeprof: {visible(conflict)}", err=True)


def _show(known: list[Device]) -> None:
    from edgeprof.cli import console

    space = _terminal_width()
    every = max((device.precisions for device in known), key=len)
    headings = [
        "provider",
        "kind",
        "status",
        *(("shapes", "precisions", "onnxruntime", "exercised on") if space >= WIDE else ()),
    ]
    room = EXERCISED if space < console.MAX_TABLE_WIDTH else space
    rows = [_facts(device, every, room)[: len(headings)] for device in known]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    left = space - sum(width + GAP for width in widths)
    remarks = [_cut(_remark(device), left) for device in known]
    columns = [(heading, "left") for heading in (*headings, "device, or how to get it")]
    console.show_table(columns, [[*row, last] for row, last in zip(rows, remarks, strict=True)])
    if any(text.endswith("…") for text in remarks):
        console.show_line(("\nFor text that is cut off (…), run: edgeprof devices --json", "dim"))


def _terminal_width() -> int:
    """In columns; unlimited where the output is not a terminal."""
    from edgeprof.cli import console

    return console.out().width if sys.stdout.isatty() or "COLUMNS" in os.environ else console.MAX_TABLE_WIDTH


def _facts(device: Device, every: tuple[str, ...], room: int) -> list[str]:
    status = f"{device.status}, emulated" if device.emulated else device.status
    precisions = "all" if device.precisions == every else " ".join(device.precisions)
    exercised = _cut(device.exercised, room)
    shapes = "static" if device.static else ""
    return [device.provider, device.kind, status, shapes, precisions, device.runtime, exercised]


def _remark(device: Device) -> str:
    if device.status == "ready":
        return "; ".join(filter(None, (device.device, device.reason)))
    return device.reason or device.install


def _cut(text: str, space: int) -> str:
    return text if len(text) <= space else text[: space - 1].rstrip() + "…"
