from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeprof.schema import Cost, Crossover, Explanation, Ledger


@options.with_sizes
def explain(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A variant, checkpoint folder, exported name, or .onnx file.")
    ],
    seq: Annotated[
        str | None,
        typer.Option(help="Token length, or several (16..131072) for figures; default 512. In decode: tokens cached."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Batch size; default 1, or what a file fixes.", min=1)] = None,
    phase: Annotated[
        str | None,
        typer.Option(help="prefill or decode; default prefill, where possible."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Precision of a variant's weights: fp32, or a recipe.")] = None,
    dim: Annotated[
        list[str] | None, typer.Option(help="Size of an axis of an .onnx file: name=512, or input.1=512. Repeatable.")
    ] = None,
    input: Annotated[
        list[str] | None, typer.Option(help="Size an input like a file: name=file.npy. Repeatable.")
    ] = None,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder that receives figures.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    **sizes: int | None,
) -> None:
    """Show where every parameter, MAC and byte comes from: closed forms of a variant, or a count of an ONNX graph."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, files, numbers

    lengths = numbers(seq, "--seq") if seq is not None else []
    with console.progress_bar() as progress:
        explanation = edgeprof.explain(
            target,
            seq=lengths,
            batch=batch,
            phase=choice(phase, "--phase", "prefill", "decode") if phase is not None else None,
            precision=precision,
            dim=options.sizes(dim, "--dim", "sequence_length=512"),
            input=files(input, "--input", "input_ids=ids.npy"),
            models=models,
            progress=progress,
            **sizes,
        )
    if json:
        console.show_json(_with_totals(explanation))
    else:
        _show(explanation)
    for file in edgeprof.draw_explanation(explanation, out=out) if explanation.lengths else []:
        if not json:
            console.show_line(str(file))


def _with_totals(explanation: "Explanation") -> object:
    """The record; every ledger also has the sums of the table, `totals` and, with blocks, `per_block`."""
    import msgspec

    from edgeprof.schema import QUANTITIES

    def sums(cost: "Cost") -> dict[str, int]:
        return {quantity: getattr(cost, quantity) for quantity in QUANTITIES}

    def shown(ledger: "Ledger") -> dict[str, object]:
        block = ledger.per_block()
        parts = {"per_block": sums(block)} if block else {}
        return {**msgspec.to_builtins(ledger), "totals": sums(ledger.everything()), **parts}

    return {
        **msgspec.to_builtins(explanation),
        "ledger": shown(explanation.ledger),
        "doubled": shown(explanation.doubled) if explanation.doubled else None,
        "lengths": [shown(ledger) for ledger in explanation.lengths],
    }


def _show(explanation: "Explanation") -> None:
    from edgeprof import units
    from edgeprof.cli.console import show_line, show_table

    ledger = explanation.ledger
    show_line((ledger.name, "bold"), f": {units.counted(ledger.total('params'), 'parameter')}; {_run(ledger)}\n")
    show_table(_columns(explanation), list(_rows(explanation)))
    show_line("\n" + _memory(ledger))
    for line in (*_doubling(explanation), *map(_crossover, explanation.crossovers)):
        show_line(line)
    for missing in ledger.uncounted:
        show_line((f"Not counted: {missing.count} x {missing.operator}: {missing.reason}", "yellow"))
    for note in explanation.notes:
        show_line((note, "dim"))


def _run(ledger: "Ledger") -> str:
    from edgeprof import units

    of = f" of {units.counted(ledger.load.tokens, 'token')}" if ledger.load.tokens else ""
    after = f" after {ledger.load.past_tokens:,} cached" if ledger.load.phase == "decode" else ""
    return f"{ledger.load.phase}{of}{after}, batch {ledger.load.batch}, {ledger.precision}"


# --- the table -----------------------------------------------------------------------------------------


def _columns(explanation: "Explanation") -> list[tuple[str, str]]:
    heads = ["count", "params", "share", "MACs", "share", "weights", "KV cache", "activations", "share"]
    heads += ["MACs at 2x tokens"] if explanation.doubled else []
    return [("component", "left"), *((head, "right") for head in heads)]


def _rows(explanation: "Explanation") -> "Iterator[list[str]]":
    rows = explanation.rows()
    total, _ = rows[-1]
    for cost, twice in rows:
        growth = [_times(cost.macs, twice.macs) if twice else ""] if explanation.doubled else []
        yield [*_row(cost, total), *growth]


def _row(cost: "Cost", total: "Cost") -> list[str]:
    from edgeprof import units

    return [
        cost.name,
        str(cost.count or ""),
        *_with_share(cost.params, total.params, units.count),
        *_with_share(cost.macs, total.macs, units.macs),
        _some(cost.weights_bytes, units.size),
        _some(cost.cache_bytes, units.size),
        *_with_share(cost.activation_bytes, total.activation_bytes, units.size),
    ]


def _with_share(amount: int, whole: int, unit: "Callable[[float], str]") -> list[str]:
    return [_some(amount, unit), f"{100 * amount / whole:.1f} %" if amount else ""]


def _some(amount: int, unit: "Callable[[float], str]") -> str:
    """An empty cell for zero, which is easier to see."""
    return unit(amount) if amount else ""


# --- sentences -----------------------------------------------------------------------------------------


def _memory(ledger: "Ledger") -> str:
    from edgeprof import units

    cached = "cached token" if ledger.load.phase == "decode" else "token"
    at = f"At {units.counted(ledger.load.length, cached)}" if ledger.load.length else "At this size"
    cache = ledger.total("cache_bytes")
    parts = [f"{units.size(ledger.total('weights_bytes'))} weights"]
    if ledger.source == "graph":
        held = f", the KV cache ({units.size(cache)}) among them" if cache else ""
        least = "at least " if ledger.working_bytes is None else ""  # some tensors have no known size
        parts.append(f"{least}{units.size(ledger.live_bytes)} live tensors{held}")
    else:
        parts += [f"{units.size(cache)} KV cache"] if cache else []
        parts.append(f"{units.size(ledger.live_bytes)} live activations")
    runtime = f" onnxruntime will hold about {units.size(ledger.working_bytes)}." if ledger.working_bytes else ""
    return f"{at}: {' + '.join(parts)}, predicted; the most are alive at: {ledger.live_at}.{runtime}"


def _doubling(explanation: "Explanation") -> "Iterator[str]":
    """What changes when the token length doubles: components that grow alike together."""
    if not explanation.doubled:
        return
    grown: dict[str, list[str]] = {}
    for cost in explanation.ledger.costs:
        if cost.macs:
            grown.setdefault(_times(cost.macs, explanation.doubled.of(cost.name).macs), []).append(cost.name)
    now, then = explanation.ledger.total("params"), explanation.doubled.total("params")
    params = f"parameters {_times(now, then)}" if now else "no parameters"
    macs = [f"MACs {by}: {', '.join(alike)}" for by, alike in grown.items()]
    yield f"When the tokens double: {'; '.join([params, *(macs or ['no MACs'])])}."


def _times(now: int, then: int) -> str:
    """By how much a quantity grows: "x2", empty where there is none."""
    return f"x{then / now:.3g}" if now else ""


def _crossover(crossover: "Crossover") -> str:
    from edgeprof import units

    outweighs = f"{crossover.larger} outweighs {crossover.smaller} in {crossover.quantity}."
    if crossover.tokens is None:
        return f"At no token length, {outweighs}"
    return f"From {units.counted(crossover.tokens, 'token')} on, {outweighs}"
