from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeprof.schema import Prediction, Predictions


def predict(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Exported names, folders or .onnx files.")],
    device: Annotated[Path | None, typer.Option(help="File of `edgeprof probe --out` from the device.")] = None,
    on_paper: Annotated[Path | None, typer.Option(help="TOML file that describes a device by a few numbers.")] = None,
    seq: options.Seq = None,
    batch: options.Batch = None,
    phase: Annotated[str, typer.Option(help="prefill, decode, or both (decode where there is a KV cache).")] = "both",
    precision: Annotated[str | None, typer.Option(help="Precisions; default all that are exported.")] = None,
    threads: Annotated[int | None, typer.Option(help="Runtime threads; those of the probe.", min=1, max=4096)] = None,
    ep: Annotated[str, typer.Option(help="Execution provider, which the probe has to have seen.")] = "cpu",
    dim: options.Dim = None,
    input: options.Input = None,
    models: options.ModelsFolder = Path("models"),
    json: Annotated[bool, typer.Option("--json", help="Print the predictions as JSON.")] = False,
) -> None:
    """Predict latency and memory on a device that is not here, from a probe of it; no model is run."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, words

    with console.progress_bar() as progress:
        answer = edgeprof.predict(
            targets,
            device=device,
            on_paper=on_paper,
            phase=choice(phase, "--phase", "prefill", "decode", "both"),
            precision=words(precision, "--precision") if precision is not None else (),
            threads=threads,
            ep=ep,
            models=models,
            progress=progress,
            **options.sizing(seq, batch, dim, input),
        )
    if json:
        console.show_json(answer)
    else:
        _show(answer)


def _show(answer: "Predictions") -> None:
    from edgeprof import units
    from edgeprof.cli import console

    threads = f", {units.counted(answer.threads, 'thread')}" if answer.threads else ""
    basis = "on paper: no error is known" if answer.basis == "on paper" else f"{answer.provider}, predicted"
    console.show_line((f"{answer.device}{threads}; {basis}", "dim"))
    measured = answer.basis == "probe"
    heads = ["latency", "interval", "usual"] if measured else ["latency on paper"]
    heads += ["peak memory", "interval"] if measured else ["peak memory on paper"]
    columns = [("model", "left"), ("precision", "left"), ("point", "left"), *((head, "right") for head in heads)]
    console.show_table([*columns, ("", "left")], [_row(point, measured=measured) for point in answer.points])
    for sentence in dict.fromkeys(_inferred(point) for point in answer.points):
        if sentence:
            console.show_line((sentence, "dim"))
    for note in answer.notes:
        console.show_line((note, "yellow"))


def _row(point: "Prediction", *, measured: bool) -> list[str]:
    from edgeprof import units

    latency, memory = point.latency, point.memory
    row = [point.model, str(point.precision), point.load.label, units.duration(latency.best_s)]
    if measured:
        row.append(_interval(latency.low_s, latency.high_s, units.duration))
        row.append(units.duration(latency.usual_s) if latency.usual_s else "")
    row.append(units.size(memory.peak_bytes) if memory else "")
    if measured:
        row.append(_interval(point.memory_low_bytes, point.memory_high_bytes, units.size))
    return [*row, "does not fit the memory" if point.fits is False else ""]


def _interval(low: float | None, high: float | None, shown: "Callable[[float], str]") -> str:
    return f"{shown(low)} to {shown(high)}" if low is not None and high is not None else ""


SHARE = 0.01
"""Of the time: nodes that take less are not named."""


def _inferred(point: "Prediction") -> str:
    """What was not read between measured sizes; empty where nothing of weight was not."""
    from edgeprof import units
    from edgeprof.text import joined

    named = [
        f"{one.operator} ({units.percent(one.share)} of the time, {one.why})"
        for one in point.latency.inferred
        if one.share >= SHARE
    ]
    where = f"{point.model} {point.precision}, {point.load.label}"
    return f"{where}: beyond the probe: {joined(named)}." if named else ""
