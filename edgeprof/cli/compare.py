from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from edgeprof.schema import ComparedPoint, Comparison


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="gpt2:fp32, an artifact folder, an .onnx file, or a run.")],
    b: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Compared with A; without it, A itself in another --python.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="Measure B with this interpreter: other/.venv/bin/python.")
    ] = None,
    seq: options.Seq = None,
    batch: options.Batch = None,
    dim: options.Dim = None,
    input: options.Input = None,
    phase: Annotated[str, typer.Option(help="prefill, decode, or both (decode where there is a KV cache).")] = "both",
    threads: options.Threads = None,
    rounds: Annotated[int, typer.Option(help="Rounds at least: in each, A and B are visited once.")] = 8,
    ci: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Go on until the ratio is known to this, up and down; default 3%."),
    ] = None,
    max_time: Annotated[float, typer.Option(help="Seconds of visits after which a point is left as it is.")] = 60.0,
    runs: options.Runs = 5,
    min_time: options.MinTime = 0.5,
    timeout: options.Timeout = 300.0,
    across_machines: Annotated[
        bool, typer.Option("--across-machines", help="Compare runs of different machines, too.")
    ] = False,
    run: Annotated[str | None, typer.Option(help="Use an existing run that has both, and measure nothing.")] = None,
    fail_above: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Exit with 1 if B is shown to be slower by more than this: 5%."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table for a pull request; - prints it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the comparison; an existing one is resumed.")] = None,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder of runs, which receives the comparison.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare two models, runs or environments: ratios of times with intervals, from paired rounds."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, interval, share, sizing
    from edgeprof.errors import UsageError

    limit = share(fail_above, "--fail-above") if fail_above is not None else None
    printed = markdown is not None and str(markdown) == "-"
    if json and printed:
        raise UsageError("--json and --markdown - both print.", "Write one into a file: --markdown comparison.md")
    with console.progress_bar(still=True) as progress:
        comparison = edgeprof.compare(
            a,
            b,
            python=python,
            **sizing(seq, batch, dim, input),
            phase=choice(phase, "--phase", "prefill", "decode", "both"),
            threads=threads,
            rounds=rounds,
            ci=interval(ci, max_time),
            max_time_s=max_time,
            runs=runs,
            min_time_s=min_time,
            timeout_s=timeout,
            across_machines=across_machines,
            run=run,
            name=name,
            models=models,
            out=out,
            progress=progress,
        )
    regressions = comparison.regressions(limit) if limit is not None else []
    if markdown is not None:
        text = (Path(comparison.folder) / "comparison.md").read_bytes()
        if printed:
            typer.echo(text.decode(), nl=False)
        else:
            markdown.write_bytes(text)
    if json:
        console.show_json(comparison)
    elif not printed:
        _show(comparison)
    if regressions and not json and not printed:
        _show_regressions(regressions, fail_above or "")
    if regressions or comparison.failed:
        raise typer.Exit(1)


def _show(comparison: "Comparison") -> None:
    from edgeprof.cli.console import show_line, show_table

    show_line((f"A: {comparison.a.name}   B: {comparison.b.name}", "bold"))
    show_line((comparison.headline + "\n", "bold"))
    several = len({point.a.subject.model + str(point.a.subject.precision) for point in comparison.points}) > 1
    columns = [("model", "left"), ("precision", "left")] if several else []
    hosts = any(point.a.place.host for point in comparison.points)
    columns += [("device", "left")] if hosts else []
    heads = ("batch", "tokens", "A", "B", "B / A", "95 % interval")
    columns += [("phase", "left"), *((head, "right") for head in heads)]
    columns += [("B is", "left"), ("rounds", "right"), ("remarks", "left")]
    show_table(columns, [_row(point, several, hosts) for point in comparison.points])
    for line in comparison.failed:
        show_line(("not compared", "red"), f": {line}")
    for line in comparison.notes:
        show_line((line, "yellow"))
    show_line(f"\n{comparison.folder}: index.html, comparison.md, comparison.json")


def _row(point: "ComparedPoint", several: bool, hosts: bool) -> list[str]:
    from edgeprof import units

    subject, load = point.a.subject, point.a.load
    identity = [subject.model, str(subject.precision)] if several else []
    identity += [point.a.place.host] if hosts else []
    identity += [load.phase, str(load.batch), units.known(load.length or None)]
    times = [units.duration(point.a_s), units.duration(point.b_s)]
    ratio = [f"{point.ratio:.3f}", f"{point.ratio_low:.3f} to {point.ratio_high:.3f}", point.verdict]
    return [*identity, *times, *ratio, point.rounds_text, point.note]


def _show_regressions(regressions: "list[ComparedPoint]", limit: str) -> None:
    from edgeprof.cli.console import show_line

    for point in regressions:
        show_line(("slower", "red"), f" by more than {limit}: {point.label}, {point.ratio:.3f} times A")
