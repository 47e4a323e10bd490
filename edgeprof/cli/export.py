from pathlib import Path
from typing import Annotated

import typer

from edgeprof.cli import options


@options.with_sizes
def export(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET", help="Names from `edgeprof models`, ./folders, ./files.gguf, or owner/name."),
    ],
    precision: Annotated[str, typer.Option(help="fp32 and quantization recipes, separated by commas.")] = "fp32",
    weights: Annotated[str, typer.Option(help="auto (pretrained where available), pretrained or random.")] = "auto",
    logits: Annotated[str, typer.Option(help="Positions at which a decoder runs its LM head: all, or last.")] = "all",
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 to 25.")] = 24,
    portable: Annotated[
        bool, typer.Option("--portable", help="Keep a decoder's attention in operators of the ONNX standard.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the artifact; default that of the variant.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that receives <name>/<precision>/.")] = Path("models"),
    calibration: options.Calibration = None,
    samples: options.Samples = 32,
    strict_accuracy: options.StrictAccuracy = False,
    save_optimized: options.SaveOptimized = False,
    static: Annotated[bool, typer.Option("--static", help="Also write graphs of one shape, for NPUs.")] = False,
    seq: Annotated[
        str | None, typer.Option(help="Token lengths of the static graphs; in decode: tokens cached.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes of the static graphs.")] = "1",
    phase: Annotated[str, typer.Option(help="Phases of the static graphs: prefill, decode, or both.")] = "both",
    genai: Annotated[
        bool, typer.Option("--genai", help="Also write what onnxruntime-genai needs to run a decoder.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Export again what is up to date.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Continue when a target or a recipe fails.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the artifacts as JSON.")] = False,
    **sizes: int | None,
) -> None:
    """Export to ONNX: verify against PyTorch, simplify, and quantize on request.

    TARGET is a variant, or a checkpoint: of transformers, sentence-transformers, an adapter, or a GGUF file.
    """
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.artifacts import show_exports
    from edgeprof.cli.options import choice, numbers, words

    with console.progress_bar() as progress:
        exports = edgeprof.export(
            targets,
            precision=words(precision, "--precision"),
            weights=choice(weights, "--weights", "auto", "pretrained", "random"),
            logits=choice(logits, "--logits", "all", "last"),
            opset=opset,
            portable=portable,
            name=name,
            out=out,
            force=force,
            calibration=calibration,
            samples=samples,
            strict_accuracy=strict_accuracy,
            save_optimized=save_optimized,
            static=static,
            seq=numbers(seq, "--seq") if seq is not None else (),
            batch=numbers(batch, "--batch"),
            phase=choice(phase, "--phase", "prefill", "decode", "both"),
            genai=genai,
            keep_going=keep_going,
            progress=progress,
            **sizes,
        )
    show_exports(exports, json)
