from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from edgeprof.schema import Fit


def fit(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="gpt2, gpt2:int8, a folder, or an .onnx file.")],
    memory: Annotated[str, typer.Option(metavar="SIZE", help="The limit: 512MiB, 2GB.")],
    precision: Annotated[str | None, typer.Option(help="Precisions to try; default all that are exported.")] = None,
    phase: Annotated[str, typer.Option(help="prefill, decode, or both (decode where there is a KV cache).")] = "both",
    batch: Annotated[int, typer.Option(help="Sequences at once; of images it is what is looked for.")] = 1,
    threads: options.Threads = None,
    models: options.ModelsFolder = Path("models"),
    json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Find the largest token length, or batch of images, that fits a memory limit, and prove it by running it."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, size, words

    with console.progress_bar(still=True) as progress:
        found = edgeprof.fit(
            target,
            memory=size(memory, "--memory"),
            precision=words(precision, "--precision") if precision is not None else (),
            phase=choice(phase, "--phase", "prefill", "decode", "both"),
            batch=batch,
            threads=threads,
            models=models,
            progress=progress,
        )
    if json:
        console.show_json(found)
    else:
        _show(found)


def _show(found: "list[Fit]") -> None:
    from edgeprof import units
    from edgeprof.cli import console

    heads = [("predicted", "right"), ("runs at", "right"), ("not at", "right"), ("peak memory", "right")]
    columns = [("model", "left"), ("precision", "left"), ("phase", "left"), *heads, ("address space", "right")]
    rows = []
    for one in found:
        exceeded = "" if one.exceeded is None else f"{one.exceeded:,}"
        peaks = [units.size(peak) if peak else "" for peak in (one.peak_bytes, one.address_peak_bytes)]
        identity = [one.subject.model, str(one.subject.precision), one.phase]
        rows.append([*identity, units.counted(one.predicted, one.unit), f"{one.proven:,}", exceeded, *peaks])
    console.show_table(columns, rows)
    for one in found:
        console.show_line(one.sentence)
    for note in dict.fromkeys(note for one in found for note in (one.uncounted, *one.notes) if note):
        console.show_line((note, "dim"))
