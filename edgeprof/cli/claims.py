from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from edgeprof.schema import CheckedClaim

COLOURS = {"confirmed": "green", "confirmed with a correction": "yellow", "wrong": "red", "not shown": "magenta"}


def claims(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Name or folder of a run; default the latest with enough points."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Export and measure what is missing, in RUN or in a run called claims.")
    ] = False,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check common claims about transformers: computed, counted or measured."""
    import edgeprof
    from edgeprof.cli import console

    with console.progress_bar(still=True) as progress:
        checked = edgeprof.check_claims(run, measure=measure, models=models, out=out, progress=progress)
    if json:
        console.show_json(checked)
    else:
        _show(checked)
    _require_as_recorded(checked)


def _show(checked: "Sequence[CheckedClaim]") -> None:
    from collections import Counter

    from edgeprof.cli.console import show_line

    for claim in checked:
        _show_claim(claim)
    counts = Counter(claim.verdict or "not checked" for claim in checked)
    show_line(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    folder = next((claim.run for claim in checked if claim.run), None)
    show_line(str(Path(folder) / "claims.md") if folder else ("No run was used, so no page is written.", "dim"))


def _show_claim(claim: "CheckedClaim") -> None:
    from rich.text import Text

    verdict = claim.verdict or "not checked"
    judged = Text(verdict if claim.holds else f"{verdict} (recorded: {claim.recorded})", COLOURS.get(verdict, "dim"))
    why = claim.correction if claim.verdict else claim.found[0]
    judged.append(f": {why}" if why else "", "default")
    evidence = (f"{claim.how}: {claim.found[0]}", *claim.found[1:]) if claim.verdict else ()
    _show_indented(f"{claim.number:2}  ", Text(claim.claim, "bold"))
    for line in (*map(Text, evidence), judged):
        _show_indented("    ", line)
    _show_indented("", Text())


def _show_indented(before: str, line: "Text") -> None:
    """Wrap a line that is too long for a terminal, indented; in a file or a pipe it stays one line."""
    from rich.table import Table

    from edgeprof.cli.console import out

    console = out()
    if console.soft_wrap:
        console.print(before + line.plain)
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(before, line)
    console.print(grid)


def _require_as_recorded(checked: "Sequence[CheckedClaim]") -> None:
    from edgeprof.errors import EdgeprofError

    changed = [f"claim {it.number} is '{it.verdict}', recorded as '{it.recorded}'" for it in checked if not it.holds]
    if changed:
        raise EdgeprofError(
            f"Verdicts have changed: {'; '.join(changed)}.",
            "Measure again on a quiet machine: edgeprof claims NEW-NAME --measure",
        )
