from pathlib import Path
from typing import Annotated

import typer


def verify(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET", help="Exported names or folders; none means all.")
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder that `export` filled.")] = Path("models"),
    json: Annotated[bool, typer.Option("--json", help="Print the artifacts as JSON.")] = False,
) -> None:
    """Check exported files against the values PyTorch gave; needs no torch."""
    from edgeprof import api
    from edgeprof.cli import console

    with console.progress_bar() as progress:
        artifacts = api.verify(targets or (), models=models, progress=progress)
    if json:
        console.show_json(artifacts)
        return
    columns = [("model", "left"), ("precision", "left"), ("shapes", "right"), ("max difference", "right")]
    columns += [("cosine", "right"), ("", "left")]
    rows = []
    for artifact in artifacts:
        worst = max(check.max_abs_error for check in artifact.checks)
        cosine = min(check.cosine for check in artifact.checks)
        rows.append(
            [artifact.name, artifact.precision, str(len(artifact.checks)), f"{worst:.2g}", f"{cosine:.6f}", "agrees"]
        )
    console.show_table(columns, rows)
