from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeprof.schema import Buckets


def buckets(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="gpt2:int8, an artifact folder, or an .onnx file.")],
    lengths: Annotated[
        str, typer.Option(metavar="FILE|a,b,c", help="Token lengths of requests: a file with one a line, or a list.")
    ],
    count: Annotated[int, typer.Option(help="Static lengths, at most.", min=1)] = 4,
    phase: Annotated[str, typer.Option(help="prefill, or decode (lengths are then tokens cached).")] = "prefill",
    batch: Annotated[int, typer.Option(help="Batch size.", min=1)] = 1,
    ep: Annotated[str | None, typer.Option(help="Provider whose latencies count, where a run has several.")] = None,
    run: Annotated[str | None, typer.Option(help="Run with latencies; default the newest with this model.")] = None,
    export: Annotated[
        bool, typer.Option("--export/--no-export", help="Write the static graphs beside the model.")
    ] = True,
    models: Annotated[Path, typer.Option(help="Folder that `export` filled.")] = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print the choice as JSON.")] = False,
) -> None:
    """Choose the static lengths that waste least for the lengths of your requests, and export them."""
    import edgeprof
    from edgeprof.api.request_lengths import request_lengths
    from edgeprof.cli import console
    from edgeprof.cli.options import choice

    with console.progress_bar() as progress:
        found = edgeprof.choose_buckets(
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
        console.show_json(found)
    else:
        _show(found)


def _show(found: "Buckets") -> None:
    from edgeprof import units
    from edgeprof.cli.console import show_line, show_table

    told = units.duration if found.unit == "s" else units.macs
    head = f"{found.variant} {found.precision}, {found.phase}, batch {found.batch}"
    lengths, requests = units.counted(len(found.buckets), "static length"), units.counted(found.requests, "request")
    show_line((head, "bold"), f": {lengths} for {requests}\n")
    columns = [("tokens", "right"), ("requests", "right"), ("share", "right")]
    columns += [("latency" if found.unit == "s" else "MACs", "right")]
    rows = []
    for one in found.buckets:
        share = units.percent(one.requests / found.requests)
        rows.append([f"{one.length:,}", f"{one.requests:,}", share, told(one.cost)])
    show_table(columns, rows)
    show_line(
        f"\nA request takes {told(found.mean_cost)} on average; at its own length {told(found.mean_cost_own)}, so "
        f"padding wastes {units.percent(found.waste)}; with one length for all {told(found.mean_cost_single)}, "
        f"{units.ratio(found.single_ratio)} as much."
    )
    for line in (found.basis, *found.notes):
        show_line((line, "dim"))
    if found.static:
        show_line("Written: ", ", ".join(one.file for one in found.static))
