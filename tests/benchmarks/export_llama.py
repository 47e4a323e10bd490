"""A checkpoint of SmolLM2-135M's architecture (30 layers, fp32, random weights) to ONNX, by whole processes.

Every command as its documentation has it: `edgeprof export` (verified against PyTorch), the model builder of
onnxruntime-genai, mobius-onnx and optimum-onnx; visited in turn, one process alive at a time. Peak memory is the sum
over all processes of a command, sampled. Asked for: at most 0.9x the best of the others in time, 1.0x in memory.
"""

import tempfile
from pathlib import Path

from tests.benchmarks import checkpoints
from tests.benchmarks.export_visits import AGAINST, COSTS, visit
from tests.benchmarks.exporters import EDGEPROF, GENAI_BUILDER, MOBIUS_ONNX, OPTIMUM_ONNX
from tests.benchmarks.peer_environments import GENAI, MOBIUS, OPTIMUM

TITLE = "Export of a decoder: 135 M parameters, 30 layers"
ROUNDS = 2
CONFIG = checkpoints.SMOLLM2


def run() -> list[str]:
    peers = "; ".join(environment.summary() for environment in (GENAI, MOBIUS, OPTIMUM))
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        checkpoint = checkpoints.write(work / "llama", CONFIG)
        visits = visit((EDGEPROF, GENAI_BUILDER, MOBIUS_ONNX, OPTIMUM_ONNX), checkpoint, work, ROUNDS)
    return [f"{peers}.", "", *COSTS, *visits.lines("llama"), "", *AGAINST, *visits.against("llama", 0.9, 1.0)]
