"""Show artifacts with their receipts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeprof import units
from edgeprof.cli import console
from edgeprof.cli.console import show_line

if TYPE_CHECKING:
    from edgeprof.api.export import Export
    from edgeprof.schema import Accuracy, Artifact, Case, FusionReceipt, Graph, QuantReceipt, StageReceipt, StaticGraph


def show_exports(exports: "Sequence[Export]", json: bool) -> None:
    """Show the outcome of each target; exit with 1 if one failed."""
    if json:
        console.show_json(exports)
    else:
        for result in exports:
            _show(result)
    if any(result.error for result in exports):
        raise typer.Exit(1)


def _show(result: "Export") -> None:
    if result.note:
        show_line((result.note, "yellow"))
    if result.artifact is None:
        show_line((result.target, "bold"), ": ", ("failed", "red"), f". {result.error}")
        return
    artifact = result.artifact
    done = "quantized" if any(graph.quantization for graph in artifact.graphs) else "exported"
    state = "up to date" if result.up_to_date else done
    show_line((artifact.name, "bold"), f" {artifact.precision}: {state}, {artifact.location}")
    show_line(f"  {units.counted(artifact.params, 'parameter')}, {artifact.weights} weights, {_size(artifact)}")
    for graph in artifact.graphs:
        role = f"{graph.role}: " if len(artifact.graphs) > 1 else ""
        if done == "quantized" and graph.quantization is None:
            show_line(f"  {role}stays in fp32: the recipe applies to none of its weights")
        for line in _of_graph(graph):
            show_line(f"  {role}{line}")
    if artifact.static:
        show_line(f"  {_static(artifact.static)}")
    if artifact.accuracy:
        show_line(f"  {_accuracy(artifact.accuracy)}")
        for warning in artifact.accuracy.beyond:
            show_line(("  exceeds the limits of this recipe: ", "yellow"), warning)
    if artifact.accuracy_note:
        show_line(f"  {artifact.accuracy_note}")


def _of_graph(graph: "Graph") -> "Iterator[str]":
    """Lines on how a graph was transformed and checked."""
    if graph.quantization is None:
        yield from map(_receipt, graph.stages)
    else:
        yield from _quantized(graph.quantization)
    if graph.fusion:
        yield _fused(graph.fusion)
    yield _checks(graph)
    if graph.fills:
        yield f"inputs: {', '.join(f'{name}: {how}' for name, how in graph.fills.items())}"


def _size(artifact: "Artifact") -> str:
    size = artifact.data_bytes + sum(Path(graph.path).stat().st_size for graph in artifact.graphs)
    per = f", {size / artifact.params:.2f} bytes per parameter" if artifact.params else ""
    return f"{size / 1e6:.1f} MB on disk{per}"


def _receipt(receipt: "StageReceipt") -> str:
    before, after = receipt.before, receipt.after
    if not receipt.kept:
        return f"{receipt.stage}: not kept, {receipt.reason}"
    removed = {
        name: count - after.nodes.get(name, 0)
        for name, count in before.nodes.items()
        if count > after.nodes.get(name, 0)
    }
    most = ", ".join(f"{count} {name}" for name, count in sorted(removed.items(), key=lambda item: -item[1])[:4])
    saved = before.weights_bytes - after.weights_bytes
    change = "removed" if saved >= 0 else "added"
    return (
        f"{receipt.stage}: {before.node_total:,} to {units.counted(after.node_total, 'node')}"
        f"{f' (removed {most})' if most else ''}, {abs(saved):,} bytes of weights {change}"
    )


def _quantized(receipt: "QuantReceipt") -> list[str]:
    """Lines on what was quantized, what was not and why, and the calibration data."""
    lines = []
    if receipt.matmuls:
        lines.append(
            f"quantized {receipt.matmuls_quantized} of {receipt.matmuls} weight matmuls, "
            f"{receipt.weight_bytes_quantized / 1e6:.1f} of {receipt.weight_bytes / 1e6:.1f} MB of their weights"
            + (", the tied embedding and LM head stored once" if receipt.shared else "")
        )
    if receipt.convolutions:
        lines.append(f"quantized {receipt.convolutions_quantized} of {receipt.convolutions} convolutions")
    stored = []
    if receipt.tables:
        stored.append(units.counted(receipt.tables, "table that is looked up", "tables that are looked up"))
    if receipt.kernels:
        stored.append(f"{units.counted(receipt.kernels, 'kernel')} of convolutions, computed with in fp32")
    if stored:
        lines.append(f"stored in 8 bits: {'; '.join(stored)}")
    lines += [f"left {one.weight} ({one.bytes / 1e6:.1f} MB): {one.reason}" for one in receipt.left]
    if receipt.kept_fp32:
        kept = ", ".join(f"{count} {name}" for name, count in receipt.kept_fp32.items())
        lines.append(f"kept in fp32: {kept}")
    if used := receipt.calibration:
        lengths = f" of {used.lengths[0]} to {units.counted(used.lengths[-1], 'token')}" if used.lengths else ""
        method = f", {used.method}" if used.method else ""
        remark = ": ranges mean nothing for real inputs" if used.random else ""
        lines.append(f"calibrated on {units.counted(used.samples, 'sample')}{lengths}{method}: {used.data}{remark}")
    return lines


def _fused(receipt: "FusionReceipt") -> str:
    fused = ", ".join(f"{one.found} of {one.expected} {one.operator}" for one in receipt.fusions)
    nodes = f"{receipt.runtime} runs {units.counted(sum(receipt.nodes.values()), 'node')}"
    return "; ".join(part for part in (nodes, fused and f"fused: {fused}", receipt.note) if part)


def _accuracy(accuracy: "Accuracy") -> str:
    parts = [f"cosine {accuracy.cosine_mean:.5f} (at least {accuracy.cosine_min:.5f})"]
    if accuracy.top1 is not None:
        parts.append(f"first choice equal in {accuracy.top1:.1%}")
    if accuracy.kl is not None:
        parts.append(f"KL {accuracy.kl:.2g} nats")
    if accuracy.perplexity is not None:
        parts.append(f"perplexity {accuracy.perplexity_fp32:.4g} to {accuracy.perplexity:.4g}")
    parts.append(f"largest difference {accuracy.max_rel_error:.2g} of a vector's largest value")
    data = f"{units.counted(accuracy.predictions, 'prediction')}, {accuracy.data}"
    return f"accuracy against fp32, {accuracy.task}: {', '.join(parts)}; {data}"


def _static(graphs: "Sequence[StaticGraph]") -> str:
    worst = max(graph.max_abs_error for graph in graphs)
    names = ", ".join(graph.file for graph in graphs)
    return f"static graphs that read the same weights: {names}; max difference {worst:.1e}"


def _shape(case: "Case") -> str:
    """ "2x5", "1x1 after 7"; "batch 1" where there are no tokens."""
    if not case.tokens:
        return f"batch {case.batch}"
    return f"{case.batch}x{case.tokens}" + (f" after {case.past_tokens}" if case.past_tokens else "")


def _checks(graph: "Graph") -> str:
    worst = max(check.max_abs_error for check in graph.checks)
    shapes = ", ".join(_shape(check.case) for check in graph.checks)
    if graph.quantization:
        cosine = min(check.cosine for check in graph.checks)
        notes = "".join(f"; {note}" for note in dict.fromkeys(note for check in graph.checks for note in check.notes))
        return f"compared with fp32 at {shapes}: max difference {worst:.2g}, cosine at least {cosine:.5f}{notes}"
    return f"verified against PyTorch at {shapes}: max difference {worst:.1e}"
