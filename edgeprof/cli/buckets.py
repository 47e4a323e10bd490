import re
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
    json: Annotated[bool, typer.Option("--json", help="Print what was chosen as JSON.")] = False,
) -> None:
    """Choose the static lengths that waste least for the lengths of your requests, and export them."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice

    with console.progress_bar() as progress:
        found = edgeprof.choose_buckets(
            target,
            _lengths(lengths),
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


def _lengths(text: str) -> list[int]:
    """ "16,64,64" or the lines of a file. A length that occurs twice is two requests.

    Raises:
        UsageError: no such file, or something that is no length, with its place.
    """
    from edgeprof.cli.options import shortened
    from edgeprof.errors import UsageError
    from edgeprof.store import read_text

    file = Path(text)
    if text.replace(",", "").replace(" ", "").isdigit():
        words, place = [word.strip() for word in text.split(",")], "place"
    elif file.exists():
        lines = read_text(file, UsageError, "Give a file with one token length a line.").splitlines()
        words, place = [line.partition("#")[0].strip() for line in lines], "line"
    else:
        raise UsageError(
            f"There is no file {shortened(text)}.", "Give a file with one token length a line, or --lengths 16,64,64"
        )
    for number, word in enumerate(words, 1):
        if word and not (re.fullmatch(r"\d{1,9}", word, re.ASCII) and int(word)):
            what = f"'{shortened(word)}' is not a token length ({place} {number} of --lengths)."
            raise UsageError(what, "Example: --lengths 16,64,64")
    found = [int(word) for word in words if word]
    if not found:
        raise UsageError("--lengths holds no lengths.", "Give a file with one token length a line.")
    return found


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
