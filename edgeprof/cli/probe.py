import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeprof.schema import Ceiling, Probe, Work


def probe(
    threads: options.Threads = None,
    ep: Annotated[str, typer.Option(help="Execution provider; only cpu can be probed.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Measure again instead of showing an earlier probe.")] = False,
    on: Annotated[
        str | None, typer.Option(metavar="NAME", help="A device to probe instead of this machine: see edgeprof fleet.")
    ] = None,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
    out: Annotated[Path | None, typer.Option(help="File that receives the probe as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the probe as JSON.")] = False,
) -> None:
    """Measure what this device can do through onnxruntime: products, attention, memory, overhead."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import one_word

    device = one_word(on, "--on") if on is not None else ""
    with console.progress_bar(still=True) as progress:
        seen = edgeprof.probe(
            threads=threads, ep=ep, force=force, on=device, fleet=fleet, insecure=insecure, out=out, progress=progress
        )
    if json:
        console.show_json(seen)
    else:
        _show(seen, device, _again(device, threads, fleet, insecure=insecure, out=out))
    if out and not json:
        console.show_line(f"\n{out}")


def _again(device: str, threads: int | None, fleet: Path | None, *, insecure: bool, out: Path | None) -> str:
    """The command that measures the same anew."""
    given = {"--on": device or None, "--threads": threads, "--fleet": fleet, "--out": out}
    words = [word for option, value in given.items() if value is not None for word in (option, str(value))]
    return shlex.join(["edgeprof", "probe", *words, *(["--insecure"] if insecure else []), "--force"])


def _show(seen: "Probe", device: str, again: str) -> None:
    from edgeprof import units
    from edgeprof.cli import console

    versions = f"onnxruntime {seen.machine.versions.get('onnxruntime', 'unknown')}"
    console.show_line(
        (f"{seen.machine.cpu}, {units.counted(seen.threads, 'thread')}, {versions}; {seen.started_at}", "dim")
    )
    columns = [("ceiling", "left"), ("value", "right"), ("95 % interval", "right"), ("at", "left")]
    console.show_table(columns, list(_rows(seen)))
    for session in seen.memory:
        what = f"a session with a product in {session.precision}" if session.precision else "a session of a few nodes"
        loaded, file = units.size(session.loaded_bytes), units.size(session.file_bytes)
        console.show_line((f"Memory: {loaded} for {what}, of a file of {file}", "dim"))
    failed = [time for time in seen.times if time.error]
    for time in failed:
        work = time.work
        console.show_line((f"{work.operator} in {work.precision}, {_at(work)}: {time.error}", "yellow"))
    for note in seen.notes:
        told = f"{device}: {note}" if device else note
        console.show_line((f"{told} For better ceilings, run: {again}", "yellow"))


def _rows(seen: "Probe") -> "Iterator[list[str]]":
    from edgeprof import units
    from edgeprof.api.kept_probe import ceilings

    found = ceilings(seen)
    for precision, ceiling in found.products.items():
        yield _row(f"products in {precision}", ceiling, _operations)
    if found.attention:
        yield _row("attention", found.attention, _operations)
    for precision, ceiling in found.vectors.items():
        yield _row(f"large matrix and vector in {precision}", ceiling, _operations)
    yield _row("memory", found.memory, lambda value: f"{units.size(value)}/s")
    yield _row("each node", found.node, units.duration)
    yield _row("each run", found.run, units.duration)


def _operations(macs_per_s: float) -> str:
    from edgeprof import units

    return f"{units.number(2 * macs_per_s / 1e9)} GFLOP/s"


def _row(what: str, ceiling: "Ceiling", shown: "Callable[[float], str]") -> list[str]:
    interval = f"{shown(ceiling.low)} to {shown(ceiling.high)}"
    return [what, shown(ceiling.value), interval, _at(ceiling.work) if ceiling.work else ""]


def _at(work: "Work") -> str:
    """ "512 x 768 x 3,072" of a product; else the sizes by their names."""
    if "inner" in work.sizes:
        return " x ".join(f"{size:,}" for size in work.sizes.values())
    return ", ".join(f"{size:,} {name.replace('_', ' ')}" for name, size in work.sizes.items())
