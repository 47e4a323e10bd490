from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from edgeprof.schema import Buckets


def buckets(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="gpt2:int8, an artifact folder, or an .onnx file.")],
    lengths: Annotated[
        str,
        typer.Option(metavar="FILE|a,b,c", help="Token lengths of requests: a file with one per line, or a list."),
    ],
    count: Annotated[int, typer.Option(help="Number of static lengths, at most.", min=1)] = 4,
    phase: Annotated[str, typer.Option(help="prefill, or decode (lengths are then tokens cached).")] = "prefill",
    batch: Annotated[int, typer.Option(help="Batch size.", min=1)] = 1,
    ep: Annotated[str | None, typer.Option(help="Provider whose latencies to use, where a run has several.")] = None,
    run: Annotated[str | None, typer.Option(help="Run with latencies; default the newest with this model.")] = None,
    export: Annotated[
        bool, typer.Option("--export/--no-export", help="Write static graphs of these lengths next to the model.")
    ] = True,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print the choice as JSON.")] = False,
) -> None:
    """Choose the static lengths that waste least for the lengths of your requests, and export them."""
    import edgeprof
    from edgeprof.api.request_lengths import request_lengths
    from edgeprof.cli import console
    from edgeprof.cli.options import choice

    with console.progress_bar() as progress:
        chosen = edgeprof.choose_buckets(
            target,
            request_lengths(lengths),
            count=count,
            phase=choice(phase, "--phase", "prefill", "decode"),
            batch=batch,
            ep=ep,
            run=run,
            export=export,
            models=models,
            out=out,
            progress=progress,
        )
    if json:
        console.show_json(chosen)
    else:
        _show(chosen)


def _show(buckets: "Buckets") -> None:
    from edgeprof import units
    from edgeprof.cli.console import show_line, show_table

    show = units.duration if buckets.unit == "s" else units.macs
    head = f"{buckets.variant} {buckets.precision}, {buckets.phase}, batch {buckets.batch}"
    lengths, requests = units.counted(len(buckets.buckets), "static length"), units.counted(buckets.requests, "request")
    show_line((head, "bold"), f": {lengths} for {requests}\n")
    columns = [("tokens", "right"), ("requests", "right"), ("share", "right")]
    columns += [("latency" if buckets.unit == "s" else "MACs", "right")]
    rows = []
    for one in buckets.buckets:
        share = units.percent(one.requests / buckets.requests)
        rows.append([f"{one.length:,}", f"{one.requests:,}", share, show(one.cost)])
    show_table(columns, rows)
    show_line(
        f"\nA request takes {show(buckets.mean_cost)} on average; at its own length {show(buckets.mean_cost_own)}, so "
        f"padding wastes {units.percent(buckets.waste)}; with one length for all {show(buckets.mean_cost_single)}, "
        f"{units.ratio(buckets.single_ratio)} as much."
    )
    for line in (buckets.basis, *buckets.notes):
        show_line((line, "dim"))
    if buckets.static:
        show_line("Written: ", ", ".join(one.file for one in buckets.static))
