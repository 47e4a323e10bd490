from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeprof.api.exporting import Export
    from edgeprof.schema import Artifact, StageReceipt


def export(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET", help="Names from `edgeprof models`, ./checkpoint folders, or owner/name."),
    ],
    precision: Annotated[str, typer.Option(help="fp32 and quantization recipes, separated by commas.")] = "fp32",
    weights: Annotated[str, typer.Option(help="auto, pretrained or random.")] = "auto",
    logits: Annotated[str, typer.Option(help="Decoders: the LM head at all positions, or the last one.")] = "all",
    opset: Annotated[int, typer.Option(help="ONNX operator set.", min=18)] = 24,
    width: Annotated[int | None, typer.Option(help="Width of a mixer or embedding.", min=1)] = None,
    tokens: Annotated[int | None, typer.Option(help="Fixed token length of mixer-dense.", min=1)] = None,
    heads: Annotated[int | None, typer.Option(help="Heads of a mixer with attention.", min=1)] = None,
    cross: Annotated[int | None, typer.Option(help="Tokens of a second sequence for mixer-attention.", min=1)] = None,
    name: Annotated[str | None, typer.Option(help="Folder name, in place of the variant's.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that receives <name>/<precision>/.")] = Path("models"),
    force: Annotated[bool, typer.Option("--force", help="Export again what is up to date.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on when one target fails.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the artifacts as JSON.")] = False,
) -> None:
    """Export to ONNX: verified against PyTorch, simplified, quantized on request.

    TARGET is a variant or a checkpoint in the transformers layout.
    """
    from edgeprof import api
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, words

    with console.progress_bar() as progress:
        exports = api.export(
            targets,
            precision=words(precision, "--precision"),
            weights=choice(weights, "--weights", "auto", "pretrained", "random"),
            logits=choice(logits, "--logits", "all", "last"),
            opset=opset,
            width=width,
            tokens=tokens,
            heads=heads,
            cross=cross,
            name=name,
            out=out,
            force=force,
            keep_going=keep_going,
            progress=progress,
        )
    if json:
        console.show_json(exports)
    else:
        for result in exports:
            _show(result)
    if any(result.error for result in exports):
        raise typer.Exit(1)


def _show(result: "Export") -> None:
    from edgeprof.cli.console import show_line

    if result.note:
        show_line((result.note, "yellow"))
    if result.artifact is None:
        show_line((result.target, "bold"), ": ", ("failed", "red"), f". {result.error}")
        return
    artifact = result.artifact
    state = "up to date" if result.up_to_date else "exported"
    show_line((artifact.name, "bold"), f" {artifact.precision}: {state}, {artifact.path}")
    show_line(f"  {artifact.params:,} parameters, {artifact.weights} weights, {_megabytes(artifact)} on disk")
    for receipt in artifact.stages if artifact.quantization is None else ():
        show_line(f"  {_receipt(receipt)}")
    if artifact.quantization:
        reached = artifact.quantization
        show_line(
            f"  quantized {reached.matmuls_quantized} of {reached.matmuls} weight matmuls, "
            f"{reached.weight_bytes_quantized / 1e6:.1f} of {reached.weight_bytes / 1e6:.1f} MB of their weights"
        )
    show_line(f"  {_checks(artifact)}")


def _megabytes(artifact: "Artifact") -> str:
    return f"{(artifact.data_bytes + Path(artifact.path).stat().st_size) / 1e6:.1f} MB"


def _receipt(receipt: "StageReceipt") -> str:
    before, after = receipt.before, receipt.after
    if not receipt.kept:
        return f"{receipt.stage}: not kept, {receipt.reason}"
    removed = {
        name: count - after.nodes.get(name, 0)
        for name, count in before.nodes.items()
        if count > after.nodes.get(name, 0)
    }
    most = ", ".join(f"{count} {name}" for name, count in sorted(removed.items(), key=lambda item: -item[1])[:4])
    saved = before.weights_bytes - after.weights_bytes
    return (
        f"{receipt.stage}: {before.node_total} to {after.node_total} nodes"
        f"{f' (removed {most})' if most else ''}, {saved:,} bytes of weights removed"
    )


def _checks(artifact: "Artifact") -> str:
    worst = max(check.max_abs_error for check in artifact.checks)
    shapes = ", ".join(
        f"{check.case.batch}x{check.case.tokens}"
        + (f" after {check.case.past_tokens}" if check.case.past_tokens else "")
        for check in artifact.checks
    )
    if artifact.quantization:
        cosine = min(check.cosine for check in artifact.checks)
        return f"compared with fp32 at {shapes}: max difference {worst:.2g}, cosine at least {cosine:.5f}"
    return f"verified against PyTorch at {shapes}: max difference {worst:.1e}"
