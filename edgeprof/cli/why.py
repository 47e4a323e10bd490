from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from edgeprof.schema import ComparedLength, Why


def why(
    a: Annotated[str, typer.Argument(metavar="A", help="gpt2:fp32, an artifact folder, or an .onnx file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Compared with A: gpt2:int8, or another file.")],
    seq: options.Seq = None,
    batch: options.Batch = None,
    dim: options.Dim = None,
    input: options.Input = None,
    phase: Annotated[str, typer.Option(help="prefill, decode, or both (decode where there is a KV cache).")] = "both",
    threads: options.Threads = None,
    rounds: Annotated[int, typer.Option(help="Visits of each point at least, each in its own process.")] = 3,
    ci: options.Ci = None,
    max_time: options.MaxTime = 30.0,
    runs: options.Runs = 5,
    min_time: options.MinTime = 0.5,
    timeout: options.Timeout = 300.0,
    name: Annotated[str | None, typer.Option(help="Name of the run; an existing run is resumed.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Use an existing run that has both (profile --ops), and measure nothing.")
    ] = None,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder that receives the run.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print the comparisons as JSON.")] = False,
) -> None:
    """Explain why B is or is not faster than A, by token length and by operator class."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, interval, sizing

    with console.progress_bar(still=True) as progress:
        comparisons = edgeprof.why(
            a,
            b,
            **sizing(seq, batch, dim, input),
            phase=choice(phase, "--phase", "prefill", "decode", "both"),
            threads=threads,
            rounds=rounds,
            ci=interval(ci, max_time),
            max_time_s=max_time,
            runs=runs,
            min_time_s=min_time,
            timeout_s=timeout,
            name=name,
            run=run,
            models=models,
            out=out,
            progress=progress,
        )
    if json:
        console.show_json(comparisons)
        return
    for number, comparison in enumerate(comparisons):
        if number:
            console.show_line("")
        _show(comparison)


def _show(comparison: "Why") -> None:
    from edgeprof import units
    from edgeprof.cli.console import show_line, show_table

    a, b = (f"{side.model} {side.precision}" for side in (comparison.a, comparison.b))
    on = comparison.place.label or comparison.place.provider
    setting = f"{on}, batch {comparison.batch}, {units.counted(comparison.place.threads, 'thread')}"
    show_line((f"A: {a}   B: {b}", "bold"), f"   ({setting})\n")
    for verdict in comparison.verdicts:
        show_line((verdict, "bold"))
    show_line("")
    names = list(dict.fromkeys(kind.name for place in comparison.places for kind in place.classes))
    columns = [("phase", "left"), *((head, "right") for head in ("tokens", "A", "B", "A / B", "95 % interval"))]
    columns += [(name, "right") for name in names]
    show_table(columns, [_row(place, names) for place in comparison.places])
    if names:
        show_line(("Classes: time in A → time in B, from runs with the profiler.", "dim"))
    for title, lines in (("Why", comparison.findings), ("Processor", comparison.machine)):
        show_line(("\n" + title, "bold"))
        for line in lines:
            show_line(f"- {line}")


def _row(place: "ComparedLength", names: list[str]) -> list[str]:
    from edgeprof import units

    times = {kind.name: kind for kind in place.classes}
    length = f"{place.length:,}" if place.length or place.phase == "decode" else "unknown"
    row = [place.phase, length, units.duration(place.a_s), units.duration(place.b_s)]
    row += [units.ratio(place.speed), f"{units.number(place.speed_low)} to {units.number(place.speed_high)}"]
    for name in names:
        kind = times.get(name)
        row.append(f"{units.duration(kind.a_s)} → {units.duration(kind.b_s)}" if kind else "")
    return row
