"""What edgeprof makes of one architecture: exported, verified, quantized, profiled, explained, with a static graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeprof import explain, export, profile
from edgeprof.errors import EdgeprofError
from edgeprof.families import traced_variant
from edgeprof.schema import Artifact, Record

from .tiny_model import TinyModel

LENGTH = 16
FUSED = ("GroupQueryAttention", "MultiHeadAttention", "Attention", "RotaryEmbedding", "MoE")
FRAMES = 2000
"""Of audio, as samples."""


class Outcome(Record, frozen=True, kw_only=True):
    """Cells of a row of the table; `refusals` are sentences, `failures` are what should not be."""

    exported: str = "no"
    fused: str = "none"
    quantized: str = "no"
    profiled: str = "no"
    costs: str = "no"
    static: str = "no"
    refusals: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def outcome(tiny: TinyModel) -> Outcome:
    """Send one architecture through all commands."""
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        checkpoint, models = tiny.checkpoint(Path(folder) / "checkpoint"), Path(folder) / "models"
        cells: dict[str, str] = {}
        refusals: list[str] = []
        failures: list[str] = []

        def attempt(cell: str, answer: Callable[[], str]) -> bool:
            try:
                cells[cell] = answer()
            except EdgeprofError as problem:
                refusals.append(f"{cell}: {problem}")
            except Exception as problem:  # noqa: BLE001  (which is what is looked for)
                failures.append(f"{cell}: {type(problem).__name__}: {problem}")
            return cell in cells

        def exported(precision: str = "fp32", **options: object) -> Artifact:
            (one,) = export([str(checkpoint)], precision=[precision], out=models, name="tiny", **options)  # type: ignore[arg-type]
            assert one.artifact is not None
            return one.artifact

        if attempt("exported", lambda: _agreement(exported())):
            artifact = exported()
            request = _size(artifact)
            cells["fused"] = _fused(artifact) or "none"
            attempt("quantized", lambda: _quantized(exported("int8")))
            attempt("profiled", lambda: _profiled(request, models, Path(folder) / "reports"))
            attempt("costs", lambda: _costs(artifact, request, models))
            attempt("static", lambda: "yes" if exported(static=True, seq=request.get("seq", ())).static else "no")
    return Outcome(**cells, refusals=tuple(refusals), failures=tuple(failures))


def _size(artifact: Artifact) -> dict[str, Any]:
    """Arguments that size the inputs of a model: a length, or none where there is a usual size, as of images."""
    symbols = {dim for graph in artifact.graphs for spec in graph.inputs for dim in spec.dims}
    if symbols & {"sequence_length", "past_sequence_length"} or traced_variant(artifact) is not None:
        return {"seq": [LENGTH]}
    return {"seq": [FRAMES]} if "frames" in symbols else {}


def _agreement(artifact: Artifact) -> str:
    """Roles of the graphs, and the largest difference to PyTorch."""
    error = max(check.max_abs_error for check in artifact.checks)
    return f"{' + '.join(graph.role for graph in artifact.graphs)}, {error:.0e}"


def _fused(artifact: Artifact) -> str:
    counts = {operator: sum(graph.count.nodes.get(operator, 0) for graph in artifact.graphs) for operator in FUSED}
    return ", ".join(f"{count} {operator}" for operator, count in counts.items() if count)


def _quantized(artifact: Artifact) -> str:
    receipts = [graph.quantization for graph in artifact.graphs if graph.quantization]
    done, every = (sum(getattr(one, name) for one in receipts) for name in ("matmuls_quantized", "matmuls"))
    return f"{done} of {every}"


def _profiled(size: dict[str, Any], models: Path, reports: Path) -> str:
    run = profile(
        ["tiny"],
        precision=["fp32"],
        rounds=1,
        max_time_s=0,
        runs=1,
        min_time_s=0,
        models=models,
        out=reports,
        name="tiny",
        **size,
    )
    for point in run.points:
        if point.status != "ok":
            raise EdgeprofError(f"{point.key.load.phase} is {point.status}: {point.error}", "")
    return ", ".join(sorted({point.key.load.phase for point in run.points}))


def _costs(artifact: Artifact, size: dict[str, Any], models: Path) -> str:
    explained = explain("tiny", models=models, **size)
    assert explained.ledger.total("params") > 0
    return "closed form" if artifact.variant else "counted"
