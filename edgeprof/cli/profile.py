from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprof.cli import options

if TYPE_CHECKING:
    from edgeprof.schema import OperatorPass, OperatorReading, Point


def profile(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Exported names, folders, or .onnx files; default all exported."),
    ] = None,
    seq: options.Seq = None,
    batch: options.Batch = None,
    phase: Annotated[str, typer.Option(help="prefill, decode, or both (decode where there is a KV cache).")] = "both",
    precision: Annotated[str | None, typer.Option(help="Precisions to measure; default all that are exported.")] = None,
    threads: options.Threads = None,
    ep: Annotated[
        str, typer.Option(help="Execution providers, or gpu, npu: the best of that kind. See edgeprof devices.")
    ] = "cpu",
    ep_library: Annotated[
        list[str] | None, typer.Option(help="A provider's library: name=path/to/lib.so. Repeatable.")
    ] = None,
    ep_option: Annotated[
        list[str] | None, typer.Option(help="A provider's option: key=value, or name.key=value. Repeatable.")
    ] = None,
    require_placement: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Fail points with a smaller share of MACs on the provider: 100%."),
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile ahead of time and load the result (EPContext).")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(help="Other runtimes to measure beside it: torch,torch-compile,openvino,llama.cpp=model.gguf."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Visits of each point at least, each in its own process.")] = 3,
    ci: options.Ci = None,
    max_time: options.MaxTime = 30.0,
    runs: options.Runs = 10,
    min_time: options.MinTime = 1.0,
    timeout: options.Timeout = 300.0,
    memory_limit: options.MemoryLimit = None,
    percentiles: options.Percentiles = "",
    dim: options.Dim = None,
    input: options.Input = None,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Then take memory apart by trials: arena off, repacking of weights off."),
    ] = False,
    ops: Annotated[bool, typer.Option("--ops", help="Afterwards, time every operator.")] = False,
    sustain: Annotated[
        str | None, typer.Option(metavar="TIME", help="Afterwards, run every point for so long: 90s, 10m.")
    ] = None,
    generate: Annotated[
        int, typer.Option(metavar="N", help="Afterwards, generate N tokens after every length of decode.", min=0)
    ] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a machine that is not quiet; exit 1 unless every point is steady.")
    ] = False,
    on: options.On = None,
    same_versions: Annotated[
        bool, typer.Option("--same-versions", help="Refuse devices that differ in onnxruntime or edgeprof.")
    ] = False,
    fleet: options.Fleet = None,
    insecure: options.Insecure = False,
    name: Annotated[str | None, typer.Option(help="Name of the run; an existing run is resumed.")] = None,
    models: options.ModelsFolder = Path("models"),
    out: Annotated[Path, typer.Option(help="Folder that receives the run.")] = Path("reports"),
    json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Measure latency and memory of exported models over token lengths."""
    import edgeprof
    from edgeprof.cli import console
    from edgeprof.cli.options import choice, files, interval, pairs, percents, seconds, share, size, sizing, words

    with console.progress_bar(still=True) as progress:
        run = edgeprof.profile(
            targets or (),
            **sizing(seq, batch, dim, input),
            phase=choice(phase, "--phase", "prefill", "decode", "both"),
            precision=words(precision, "--precision") if precision is not None else (),
            threads=threads,
            ep=words(ep, "--ep"),
            ep_library=files(ep_library, "--ep-library", "mine=path/to/libprovider.so"),
            ep_option=pairs(ep_option, "--ep-option", "backend_type=htp"),
            require_placement=share(require_placement, "--require-placement") if require_placement else 0.0,
            compile=compile,
            baseline=words(baseline, "--baseline") if baseline is not None else (),
            rounds=rounds,
            ci=interval(ci, max_time),
            max_time_s=max_time,
            runs=runs,
            min_time_s=min_time,
            timeout_s=timeout,
            percentiles=percents(percentiles, "--percentiles") if percentiles else (),
            memory_limit_bytes=size(memory_limit, "--memory-limit") if memory_limit is not None else None,
            memory=memory,
            ops=ops,
            sustain_s=seconds(sustain, "--sustain") if sustain else 0.0,
            generate=generate,
            strict=strict,
            on=words(on, "--on") if on is not None else (),
            same_versions=same_versions,
            fleet=fleet,
            insecure=insecure,
            name=name,
            models=models,
            out=out,
            progress=progress,
        )
    if json:
        console.show_json(run)
    else:
        _show(run.points)
        if run.operators:
            _show_operators(run.operators)
            _show_modules(run.operators)
            for line in run.reached:
                console.show_line(line)
        _show_fills(run.points)
        for line in (*run.generated, *run.memory_trials, *run.endurance):
            console.show_line(line)
        if run.trust:
            console.show_line(run.trust)
        for note in run.notes:
            console.show_line((note, "yellow"))
        for device in run.lost:
            again = f"Take the run up with --name {Path(run.folder).name}."
            console.show_line((f"{device} went away before its points were visited enough. {again}", "red"))
        machines = "machines.json" if run.hosts else "machine.json"
        console.show_line(f"\n{run.folder}: measurements.jsonl, measurements.csv, {machines}")
        console.show_line((f"Next: edgeprof report {run.folder}", "dim"))
    if run.failed or run.lost or (strict and any(point.verdict != "steady" for point in run.points)):
        raise typer.Exit(1)


def _show(points: "tuple[Point, ...]") -> None:
    from edgeprof import units
    from edgeprof.cli import console

    elsewhere = any(point.place.provider != "cpu" for point in points)
    columns = _columns(elsewhere)
    several = any(point.place.host for point in points)
    columns += [("device", "left")] if several else []
    columns += [("latency", "right"), ("95 % interval", "right"), ("best", "right"), ("verdict", "left")]
    columns += [(f"p{percent:g}", "right") for percent in _percents(points)]
    columns += [
        ("peak memory", "right"),
        ("weights", "right"),
        ("touched by runs", "right"),
        ("working", "right"),
        *([("remarks", "left")] if elsewhere else []),
    ]
    rows = []
    for point in points:
        row = [*_row(point, elsewhere), *([point.place.host] if several else [])]
        latency, memory = point.latency, point.memory
        if latency is None or memory is None:
            rows.append([*row, point.status, *[""] * (len(columns) - len(row) - 1)])
            continue
        interval = f"{units.duration(latency.ci_low_s)} to {units.duration(latency.ci_high_s)}"
        row += [units.duration(latency.median_s), interval, units.duration(latency.best_s), point.verdict or ""]
        row += [one.missing if one.value_s is None else units.duration(one.value_s) for one in latency.percentiles]
        parts = (memory.weights_bytes, memory.weights_touched_bytes, memory.working_bytes)
        row += map(units.size, (memory.peak_bytes, *parts))
        rows.append([*row, _remarks(point)] if elsewhere else row)
    console.show_table(columns, rows)
    if silent := _without_device_memory(points):
        console.show_line((f"Memory is host memory: device memory is not reported for {', '.join(silent)}.", "dim"))
    for point in points:
        if point.status != "ok":
            console.show_line((point.status, "red"), f": {point.key.label}: {point.error}")


def _percents(points: "tuple[Point, ...]") -> list[float]:
    """The percentiles that were asked for."""
    return [one.percent for one in next((point.latency.percentiles for point in points if point.latency), ())]


def _columns(elsewhere: bool) -> list[tuple[str, str]]:
    """The identity columns of a table; the provider only if one is not the CPU."""
    columns = [("model", "left"), ("precision", "left")]
    columns += [("provider", "left")] if elsewhere else []
    return [*columns, ("phase", "left"), ("batch", "right"), ("tokens", "right")]


def _row(record: "Point | OperatorPass", elsewhere: bool) -> list[str]:
    from edgeprof import units

    subject, load = record.subject, record.load
    identity = [subject.model, str(subject.precision), *([record.place.provider] if elsewhere else [])]
    return [*identity, load.phase, str(load.batch), units.known(load.length or None)]


def _show_fills(points: "tuple[Point, ...]") -> None:
    """Print the fills of the inputs of users' files."""
    from edgeprof.cli import console

    filled = [point for point in points if point.facts.fills]
    fills = {(point.subject.model, ", ".join(f"{a}: {b}" for a, b in point.facts.fills.items())): 0 for point in filled}
    for name, text in fills:
        console.show_line((f"Inputs of {name}: {text}", "dim"))


def _without_device_memory(points: "tuple[Point, ...]") -> list[str]:
    """Measured providers on devices other than the CPU that do not report device memory."""
    elsewhere = [point for point in points if point.receipt.kind not in (None, "CPU")]
    silent = [point for point in elsewhere if point.memory and point.memory.device_bytes is None]
    return list(dict.fromkeys(point.place.provider for point in silent))


def _remarks(point: "Point") -> str:
    """Remarks on a point of another provider: its placement, compilation, device memory, and a wrong result."""
    from edgeprof import units

    receipt, memory = point.receipt, point.memory
    loaded = [units.duration(time_s) for time_s in (point.load_s, receipt.load_plain_s) if time_s is not None]
    compiled = f"loads in {loaded[0]} ({loaded[1]} without --compile)" if receipt.compiled and len(loaded) > 1 else ""
    on_device = memory.device_bytes if memory else None
    remarks = (
        "emulated" if point.place.emulated else "",
        _placed(point),
        "static" if receipt.static else "",
        compiled,
        f"{units.size(on_device)} on the device" if on_device is not None else "",
        receipt.difference_text,
    )
    return "; ".join(filter(None, remarks))


def _placed(point: "Point") -> str:
    """ "all MACs, 90 % of nodes, 10 partitions"; empty on the CPU provider, which has no placement."""
    from edgeprof import units

    placement = point.receipt.placement
    if placement is None:
        return ""
    nodes = f"{units.percent(placement.nodes_share)} of nodes"
    parts = ["all nodes"] if placement.nodes_share == 1 else [nodes]
    if placement.nodes_share < 1 and placement.macs_share is not None:
        parts = [point.receipt.share_text or "all MACs", nodes]
    if placement.placed[0].partitions > 1:
        parts.append(f"{placement.placed[0].partitions} partitions")
    return ", ".join(parts)


SHOWN = 4  # operator types in a row of the table; --json has all


def _show_operators(passes: "tuple[OperatorPass, ...]") -> None:
    """Print the operator times of each point, and their share of a run without the profiler."""
    import statistics

    from edgeprof import units
    from edgeprof.cli import console

    elsewhere = any(each.place.provider != "cpu" for each in passes)
    columns = _columns(elsewhere)
    columns += [("latency", "right"), ("explained", "right"), ("operators", "left")]
    rows = []
    for each in passes:
        row, reading = _row(each, elsewhere), each.outcome.reading
        if reading is None:
            rows.append([*row, each.outcome.status, "", each.outcome.error])
            continue
        plain_s = statistics.median(reading.latencies_s)
        total_s = sum(operator.time_s for operator in reading.operators)
        explained = "dispatch only" if each.dispatch_only else f"{100 * total_s / plain_s:.0f} %"
        rows.append([*row, units.duration(plain_s), explained, _longest(reading)])
    console.show_line("")
    console.show_table(columns, rows)


def _show_modules(passes: "tuple[OperatorPass, ...]") -> None:
    """Print what each module of each point takes, computes and moves."""
    from edgeprof import units
    from edgeprof.cli import console

    shown = [each for each in passes if each.modules]
    if not shown:
        return
    columns = [*_columns(False), ("module", "left")]
    columns += [(heading, "right") for heading in ("nodes", "time", "share", "MACs", "bytes", "GFLOP/s", "GB/s")]
    rows = []
    for each in shown:
        total_s = sum(module.time_s for module in each.modules)
        for module in each.modules:
            rates = (module.flops_per_s, module.bytes_per_s)
            rows.append(
                [
                    *_row(each, False),
                    module.module,
                    f"{module.nodes:,}",
                    units.duration(module.time_s),
                    units.percent(module.time_s / total_s) if total_s else "",
                    units.macs(module.macs) if module.macs else "",
                    units.size(module.moved_bytes),
                    *(units.number(rate / 1e9) if rate else "" for rate in rates),
                ]
            )
    console.show_line("")
    console.show_table(columns, rows)


def _longest(reading: "OperatorReading") -> str:
    from edgeprof import units

    total_s = sum(operator.time_s for operator in reading.operators)
    return ", ".join(
        f"{kind.nodes} {kind.operator} {units.duration(kind.time_s)} ({100 * kind.time_s / total_s:.0f} %)"
        for kind in reading.operators[:SHOWN]
    )
