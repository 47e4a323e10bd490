from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options


def report(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Name or folder of a run; default the latest.")
    ] = None,
    percentiles: options.Percentiles = "90",
    out: Annotated[Path, typer.Option(help="Folder that `profile` wrote into.")] = Path("reports"),
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the paths as JSON.")] = False,
) -> None:
    """Draw the figures of a run and write its pages: index.html and report.md."""
    import edgeprof
    from edgeprof import units
    from edgeprof.cli import console

    with console.progress_bar() as progress:
        page = edgeprof.write_report(
            run, percentiles=options.percents(percentiles, "--percentiles"), out=out, progress=progress
        )
    figures = sorted(str(file) for file in (page.parent / "figures").glob("*.png"))
    if json:
        console.show_json({"page": str(page), "markdown": str(page.with_name("report.md")), "figures": figures})
    else:
        console.show_line(str(page))
        console.show_line(f"{units.counted(len(figures), 'figure')} in {page.parent / 'figures'}")
    if open:
        typer.launch(str(page.absolute()))
