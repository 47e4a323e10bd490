from typing import Annotated

import typer

from edgeprof.cli import options


def agent(
    name: Annotated[str | None, typer.Option(help="Name of this device in fleet.toml; default the host's.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tls://HOST:PORT", help="What to join; default the scheduler of fleet.toml.")
    ] = None,
    certs: options.Certs = None,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
) -> None:
    """Let this device be measured from elsewhere: join a scheduler, and work on one request at a time."""
    from edgeprof.api.fleet import fleet_agent
    from edgeprof.cli import console

    fleet_agent(name, scheduler, certs=certs, fleet=fleet, insecure=insecure, say=console.show_line)
