import os
import sys
from typing import Annotated

import typer

from edgeprof.schema import Device
from edgeprof.text import visible

WIDE = 160
"""Columns of a terminal from which on shapes, precisions and versions are shown, too."""

GAP = 2
"""Between two columns of a table."""


def devices(
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again instead of telling what is remembered.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the execution providers, and which of them compute here."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.providers import installed_packages

    found = edgeprof.devices(refresh=refresh)
    if json:
        console.show_json(found)
    else:
        _show(found)
    mixture = installed_packages.overlaid(installed_packages.installed())
    if mixture:
        typer.echo(f"edgeprof: {visible(mixture)}", err=True)


def _show(found: list[Device]) -> None:
    from edgeprof.cli import console

    space = _space()
    headings = ["provider", "kind", "status", *(("shapes", "precisions", "onnxruntime") if space >= WIDE else ())]
    rows = [_facts(device)[: len(headings)] for device in found]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    left = space - sum(width + GAP for width in widths)
    told = [_shortened(_told(device), left) for device in found]
    columns = [(heading, "left") for heading in (*headings, "device, or how to get it")]
    console.show_table(columns, [[*row, last] for row, last in zip(rows, told, strict=True)])
    if any(text.endswith("…") for text in told):
        console.show_line(("\nWhat is cut off (…) stands in: edgeprof devices --json", "dim"))


def _space() -> int:
    """Columns there are; as many as it takes where nobody looks at a terminal."""
    from edgeprof.cli import console

    return console.out().width if sys.stdout.isatty() or "COLUMNS" in os.environ else console.WIDEST_TABLE


def _facts(device: Device) -> list[str]:
    from edgeprof.providers.table import EVERY_PRECISION

    status = f"{device.status}, emulated" if device.emulated else device.status
    precisions = "all" if device.precisions == EVERY_PRECISION else " ".join(device.precisions)
    return [device.provider, device.kind, status, "static" if device.static else "", precisions, device.runtime]


def _told(device: Device) -> str:
    if device.status == "ready":
        return "; ".join(filter(None, (device.device, device.reason)))
    return device.reason or device.install


def _shortened(text: str, space: int) -> str:
    return text if len(text) <= space else text[: space - 1].rstrip() + "…"
