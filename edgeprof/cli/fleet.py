from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options
from edgeprof.errors import UsageError

if TYPE_CHECKING:
    from edgeprof.api.fleet import FleetDeviceState

fleet = typer.Typer(
    help="List the devices that are somewhere else; set them up and clean them.",
    invoke_without_command=True,
    no_args_is_help=False,
)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME...]", help="Devices of fleet.toml, or ssh://user@host; default all."),
]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for an answer.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@fleet.callback()
def devices(
    context: typer.Context,
    on: options.On = None,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
    timeout: Timeout = 120,
    json: Json = False,
) -> None:
    """List the devices that are somewhere else: what each is, and whether it answers."""
    if context.invoked_subcommand:
        _require_no_option(context, context.invoked_subcommand)
        return
    from edgeprof.api.fleet import fleet_devices
    from edgeprof.cli import console

    with console.progress_bar() as progress:
        states = fleet_devices(
            options.words(on, "--on") if on is not None else (),
            fleet=fleet,
            insecure=insecure,
            timeout_s=timeout,
            progress=progress,
        )
    if json:
        console.show_json(states)
    else:
        _show(states)


def _require_no_option(context: typer.Context, command: str) -> None:
    """Refuse options before a command that does not see them: it would work on other devices than those named.

    Raises:
        UsageError: there is one.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"{parameter.opts[0]} before '{command}' does not hold for it.", f"Run: edgeprof fleet {command} --help"
            )


@fleet.command()
def clean(
    names: Names = None,
    keep: Annotated[str | None, typer.Option(metavar="SIZE", help="Keep so much of the newest files: 5GiB.")] = None,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
    timeout: Timeout = 120,
    json: Json = False,
) -> None:
    """Remove the files that devices keep of models sent to them."""
    from edgeprof import units
    from edgeprof.api.fleet import clean_fleet
    from edgeprof.cli import console

    keep_bytes = options.size(keep, "--keep") if keep else 0
    with console.progress_bar() as progress:
        cleaned = clean_fleet(
            names or (), keep_bytes=keep_bytes, fleet=fleet, insecure=insecure, timeout_s=timeout, progress=progress
        )
    if json:
        console.show_json(cleaned)
    else:
        rows = [
            [one.name, "", "", one.error.removeprefix(f"{one.name}: ")]
            if one.error
            else [one.name, units.size(one.removed_bytes), units.size(one.kept_bytes), ""]
            for one in cleaned
        ]
        console.show_table([("device", "left"), ("removed", "right"), ("kept", "right"), ("", "left")], rows)
    if any(one.error for one in cleaned):
        raise typer.Exit(1)


@fleet.command()
def certs(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Devices.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of all certificates; default that of fleet.toml.")] = None,
    fleet: options.Fleet = None,
    force: Annotated[bool, typer.Option("--force", help="Replace certificates that are there.")] = False,
) -> None:
    """Make a private authority, and a certificate for each device."""
    from edgeprof.api.fleet import fleet_certificates
    from edgeprof.cli import console

    made = fleet_certificates(names or (), out=out, fleet=fleet, force=force)
    for folder in made:
        console.show_line(str(folder))
    if not made:
        console.show_line("All certificates are there already. To replace them, add --force.")


@fleet.command()
def scheduler(
    address: Annotated[
        str | None, typer.Option(metavar="tls://HOST:PORT", help="Where agents join; default that of fleet.toml.")
    ] = None,
    certs: options.Certs = None,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
) -> None:
    """Run the scheduler that agents join and requests go through."""
    from edgeprof.api.fleet import fleet_scheduler
    from edgeprof.cli import console

    fleet_scheduler(address, certs=certs, fleet=fleet, insecure=insecure, say=console.show_line)


def _show(states: "list[FleetDeviceState]") -> None:
    from edgeprof import units
    from edgeprof.cli import console

    heads = (
        "device",
        "machine",
        "ready",
        "onnxruntime",
        "disk",
        "memory",
        "temperature",
        "busy with, or why not there",
    )
    rows = []
    for state in states:
        seen = state.described
        if seen is None:
            rows.append([state.name, "", "", "", "", "", "", state.error.removeprefix(f"{state.name}: ")])
            continue
        ready = " ".join(one.provider for one in seen.providers if one.status == "ready")
        disk, memory = units.size(seen.free_disk_bytes), units.size(seen.free_memory_bytes)
        warmth = f"{seen.temperature_c:.0f} °C" if seen.temperature_c is not None else ""
        runtime = seen.packages.get("onnxruntime", "")
        rows.append([state.name, seen.machine.cpu, ready, runtime, disk, memory, warmth, seen.busy_with])
    sides = ("left", "left", "left", "left", "right", "right", "right", "left")
    console.show_table(list(zip(heads, sides, strict=True)), rows)
    for state in states:
        if state.notes:
            console.show_line((f"{state.name}: {state.notes}", "dim"))
