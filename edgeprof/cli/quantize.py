from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options


def quantize(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET", help="Exported names or folders (their fp32), or .onnx files.")
    ],
    recipe: Annotated[str, typer.Option(help="Recipes, separated by commas: int8, int4, fp16, ... ")] = "int8",
    seq: options.Seq = None,
    batch: options.Batch = None,
    dim: options.Dim = None,
    input: options.Input = None,
    calibration: options.Calibration = None,
    samples: options.Samples = 32,
    block_size: Annotated[int | None, typer.Option(help="Weights that share one scale: 32, 64, 128.", min=16)] = None,
    symmetric: Annotated[
        bool | None, typer.Option("--symmetric/--asymmetric", help="Quantize weights without or with zero points.")
    ] = None,
    accuracy_level: Annotated[
        int | None, typer.Option(help="Weight-only recipes multiply in: 1 fp32, 2 fp16, 3 bf16, 4 int8.", min=1, max=4)
    ] = None,
    method: Annotated[str | None, typer.Option(help="Ranges of activations by min-max, entropy or percentile.")] = None,
    strict_accuracy: options.StrictAccuracy = False,
    save_optimized: options.SaveOptimized = False,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[
        Path | None, typer.Option(help="Folder that receives <name>/<precision>/; default next to the source.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Quantize again what is up to date.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the artifacts as JSON.")] = False,
) -> None:
    """Quantize exported models or .onnx files; report which weights were quantized, and the accuracy lost."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.artifacts import show_exports
    from edgeprof.cli.options import choice, sizing, words

    with console.progress_bar() as progress:
        exports = edgeprof.quantize(
            targets,
            recipe=words(recipe, "--recipe"),
            block_size=block_size,
            symmetric=symmetric,
            accuracy_level=accuracy_level,
            method=None if method is None else choice(method, "--method", "min-max", "entropy", "percentile"),
            **sizing(seq, batch, dim, input),
            calibration=calibration,
            samples=samples,
            strict_accuracy=strict_accuracy,
            save_optimized=save_optimized,
            models=models,
            out=out,
            force=force,
            progress=progress,
        )
    show_exports(exports, json)
