"""Prefill and decode of SmolLM2-135M's architecture: edgeprof's graphs against those of onnxruntime-genai's builder.

Both run in plain onnxruntime, in the same loop, with I/O binding; past and present are one buffer of 1,024 tokens.
Latency is the least of all runs of all rounds, which repeats best; in brackets the range of the rounds' medians.
Asked for: at most 1.0x in fp32 and int4, int8 prefill at most 0.3x genai's int4 where the CPU has AMX, and decode at
most 1.2x the time in which onnxruntime reads the weights and the cache, by its fastest matrix-vector product.
"""

import tempfile
from pathlib import Path

from edgeprof.measure import machine
from tests.benchmarks import checkpoints
from tests.benchmarks.exporters import EDGEPROF_RECIPES, GENAI_BUILDER, GENAI_INT4
from tests.benchmarks.harness import HERE, Failed, python
from tests.benchmarks.latency_visits import AGAINST, Latencies, Timed, visit
from tests.benchmarks.peer_environments import GENAI
from tests.benchmarks.quantizing import size_bytes

TITLE = "Latency of a decoder: against onnxruntime-genai's graphs"
ROUNDS = 4
CONFIG = checkpoints.SMOLLM2
SHAPES = {"prefill 128": (128, 0), "prefill 512": (512, 0), "decode 128": (1, 128), "decode 900": (1, 900)}
HEAD_SIZE = 64


def run() -> list[str]:
    threads = machine.describe().cores_allowed
    told, against = [f"{GENAI.summary()}.", "", "| file | MB |", "|---|---|"], list(AGAINST)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        checkpoint = checkpoints.write(work / "llama", CONFIG)
        files = _files(checkpoint, work, told)
        words = [f"{tokens}+{past}" for tokens, past in SHAPES.values()]
        loop = [HERE / "graph_loop.py", str(threads), str(HEAD_SIZE)]
        timed = [Timed(name, (*loop, file, *words)) for name, file in files.items()]
        bandwidths = [_bandwidth(threads, work)]
        latencies = visit(timed, tuple(SHAPES), work, ROUNDS)
        bandwidths.append(_bandwidth(threads, work))
        told += [f"| {name} | {size_bytes(file) / 1e6:.1f} |" for name, file in files.items()]
        limits = _limits(latencies, files, max(bandwidths))
    for shape in SHAPES:
        against += latencies.against("llama", "edgeprof fp32", [GENAI_BUILDER.name], shape, 1.0)
        against += latencies.against("llama", "edgeprof int4", [GENAI_INT4.name], shape, 1.0)
        against += latencies.against("llama", "edgeprof int8", [GENAI_INT4.name], shape, _asked_of_int8(shape))
    return [*told, "", *latencies.lines("llama"), *against, "", *limits]


def _files(checkpoint: Path, work: Path, told: list[str]) -> dict[str, Path]:
    """Graphs by name; what cannot be exported is told."""
    files: dict[str, Path] = {}
    for exporter in (EDGEPROF_RECIPES, GENAI_BUILDER, GENAI_INT4):
        target = work / exporter.name.replace(" ", "-")
        try:
            exporter(checkpoint, target)
        except Failed as problem:
            told.append(f"| {exporter.name} | fails: {problem.last_line[:160]} |")
        for file in target.rglob("model.onnx"):
            name = f"edgeprof {file.parent.name}" if exporter is EDGEPROF_RECIPES else exporter.name
            files[name] = file
    return files


def _bandwidth(threads: int, work: Path) -> float:
    return float(python(HERE / "memory_bandwidth.py", str(threads), cwd=work).output.strip().splitlines()[-1])


def _limits(latencies: Latencies, files: dict[str, Path], bandwidth: float) -> list[str]:
    """Decode over the time that reading takes: the weights of the file, and a cache in fp32."""
    lines = [
        f"A matrix-vector product in fp32 reads {bandwidth / 1e9:.1f} GB/s.",
        "",
        "| file | shape | MB read | at that rate, ms | decode, ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, file in files.items():
        for shape, (tokens, past) in SHAPES.items():
            if tokens > 1 or (name, shape) not in latencies.least:
                continue
            cache = 2 * 4 * CONFIG["num_hidden_layers"] * CONFIG["num_key_value_heads"] * HEAD_SIZE * past
            read = size_bytes(file) - file.stat().st_size + cache
            limit, decode = read / bandwidth, latencies.best(name, shape)
            cells = f"{read / 1e6:.0f} | {1e3 * limit:.1f} | {1e3 * decode:.1f} | {decode / limit:.2f}"
            lines.append(f"| {name} | {shape} | {cells} |")
    return lines


def _asked_of_int8(shape: str) -> float | None:
    amx = "amx_int8" in machine.describe().cpu_features
    return 0.3 if amx and shape.startswith("prefill") else None
