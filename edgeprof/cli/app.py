"""The tree of commands."""

import typer

from edgeprof.cli import (
    agent,
    buckets,
    claims,
    compare,
    devices,
    explain,
    export,
    fit,
    fleet,
    models,
    predict,
    probe,
    profile,
    quantize,
    recipes,
    report,
    verify,
    why,
)

app = typer.Typer(
    name="edgeprof",
    help="What does this transformer cost on this device, at this token length, in this precision, and why?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    models.models,
    devices.devices,
    probe.probe,
    predict.predict,
    export.export,
    quantize.quantize,
    recipes.recipes,
    verify.verify,
    profile.profile,
    explain.explain,
    why.why,
    compare.compare,
    fit.fit,
    buckets.buckets,
    report.report,
    claims.claims,
    agent.agent,
):
    app.command()(command)
app.add_typer(fleet.fleet, name="fleet")


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(version("edgeprof"))
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass
