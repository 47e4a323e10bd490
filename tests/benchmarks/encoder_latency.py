"""Encoders and ViT: edgeprof's graphs against those of optimum-onnx in the same loop, and PyTorch eager and compiled.

Best precision: int8 of both, bf16 of PyTorch; each tool's best counts. optimum's int8 is of its own export, by its
settings for this CPU. Latency is the least of all runs of all rounds; in brackets the range of the rounds' medians.
Compiling is not timed. Asked for: at most 1.0x the best of the others.
"""

import tempfile
from pathlib import Path

from edgeprof.measure import machine
from tests.benchmarks import checkpoints
from tests.benchmarks.exporters import EDGEPROF_INT8, OPTIMUM_INT8, Exporter
from tests.benchmarks.harness import HERE, Failed
from tests.benchmarks.latency_visits import AGAINST, Timed, visit
from tests.benchmarks.peer_environments import OPTIMUM

TITLE = "Latency of encoders and ViT: against optimum-onnx and PyTorch"
ROUNDS = 2
TOKENS = (16, 128, 512)
MODELS = {
    "bert-base": (checkpoints.BERT, TOKENS),
    "modernbert-base": (checkpoints.MODERNBERT, TOKENS),
    "vit-base": (checkpoints.VIT, (197,)),
}
TORCH = [(how, precision) for precision in ("fp32", "bf16") for how in ("eager", "compile")]
FP32 = ["optimum-onnx fp32", "torch eager fp32", "torch compile fp32"]
BEST = ["optimum-onnx int8", "torch eager bf16", "torch compile bf16"]


def run() -> list[str]:
    told: list[str] = []
    tables: list[str] = []
    against = list(AGAINST)
    for model, (config, lengths) in MODELS.items():
        shapes = tuple(f"{length} tokens" for length in lengths)
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            checkpoint = checkpoints.write(work / model, config)
            candidates = [*_graphs(checkpoint, work, lengths, told), *_torch(checkpoint, lengths)]
            latencies = visit(candidates, shapes, work, ROUNDS)
        tables += latencies.lines(model)
        for shape in shapes:
            against += latencies.against(model, "edgeprof fp32", FP32, shape, 1.0)
            against += latencies.against(model, "edgeprof int8", BEST, shape, 1.0)
    return [f"{OPTIMUM.summary()}.", *told, "", *tables, *against]


def _graphs(checkpoint: Path, work: Path, lengths: tuple[int, ...], told: list[str]) -> list[Timed]:
    return [
        Timed(name, (HERE / "graph_loop.py", _threads(), "0", file, *(f"{length}+0" for length in lengths)))
        for exporter, names in ((EDGEPROF_INT8, ("fp32", "int8")), (OPTIMUM_INT8, ("fp32", "int8")))
        for name, file in _exported(exporter, names, checkpoint, work, told)
    ]


def _exported(
    exporter: Exporter, names: tuple[str, ...], checkpoint: Path, work: Path, told: list[str]
) -> list[tuple[str, Path]]:
    """Name and file of each precision; a failure is told."""
    target = work / exporter.name.replace(" ", "-")
    try:
        exporter(checkpoint, target)
    except Failed as problem:
        told.append(f"{checkpoint.name}: {exporter.name} fails, {problem.last_line[:160]}.")
    tool = exporter.name.removesuffix(" int8")
    return [(f"{tool} {name}", file) for name in names for file in target.rglob(f"{name}/model.onnx")]


def _torch(checkpoint: Path, lengths: tuple[int, ...]) -> list[Timed]:
    loop = HERE / "torch_loop.py"
    return [
        Timed(f"torch {how} {precision}", (loop, how, precision, _threads(), checkpoint, *map(str, lengths)))
        for how, precision in TORCH
    ]


def _threads() -> str:
    return str(machine.describe().cores_allowed)
