from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from edgeprof.schema import Artifact


def verify(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Exported names, folders, or .onnx files; none means all exported."),
    ] = None,
    seq: options.Seq = None,
    batch: options.Batch = None,
    dim: options.Dim = None,
    input: options.Input = None,
    on: options.On = None,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
    models: options.ModelsFolder = Path("models"),
    json: Annotated[bool, typer.Option("--json", help="Print the artifacts as JSON.")] = False,
) -> None:
    """Compare exported files with their PyTorch results, and others with themselves unoptimized; needs no torch."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import sizing, words

    with console.progress_bar() as progress:
        artifacts = edgeprof.verify(
            targets or (),
            **sizing(seq, batch, dim, input),
            on=words(on, "--on") if on is not None else (),
            fleet=fleet,
            insecure=insecure,
            models=models,
            progress=progress,
        )
    if json:
        console.show_json(artifacts)
        return
    _show(artifacts)


def _show(artifacts: "list[Artifact]") -> None:
    from edgeprof.cli import console

    several = any(check.host for artifact in artifacts for check in artifact.checks)
    columns = [("model", "left"), ("precision", "left"), *([("device", "left")] if several else [])]
    columns += [("shapes", "right"), ("max difference", "right"), ("cosine", "right"), ("", "left")]
    rows = []
    for artifact in artifacts:
        worst = max(check.max_abs_error for check in artifact.checks)
        cosine = min(check.cosine for check in artifact.checks)
        others = {check.against for check in artifact.checks} - {"PyTorch"}
        verdict = " ".join(["agrees", *(f"with {one}" for one in sorted(others))])
        numbers = [str(len(artifact.checks)), f"{worst:.2g}", f"{cosine:.6f}"]
        device = [artifact.checks[0].host] if several else []
        rows.append([artifact.name, str(artifact.precision), *device, *numbers, verdict])
    console.show_table(columns, rows)
    for artifact in artifacts:
        if not artifact.key:
            console.show_line(
                (f"{artifact.name} lacks values of PyTorch (reference.npz): the export is not verified.", "dim")
            )
