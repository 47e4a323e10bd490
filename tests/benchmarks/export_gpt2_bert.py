"""Checkpoints of gpt2 and bert-base (random weights) to ONNX: `edgeprof export` against `optimum-cli export onnx`.

Whole processes, visited in turn. Asked for: at most half of optimum's time and memory.
"""

import tempfile
from pathlib import Path

from tests.benchmarks import checkpoints
from tests.benchmarks.export_visits import AGAINST, COSTS, visit
from tests.benchmarks.exporters import EDGEPROF, OPTIMUM_ONNX
from tests.benchmarks.peer_environments import OPTIMUM

TITLE = "Export of gpt2 and bert-base, against optimum-onnx"
ROUNDS = 2
CONFIGS = {"gpt2": checkpoints.GPT2, "bert-base": checkpoints.BERT}


def run() -> list[str]:
    costs, against = list(COSTS), list(AGAINST)
    for model, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            checkpoint = checkpoints.write(work / model, config)
            visits = visit((EDGEPROF, OPTIMUM_ONNX), checkpoint, work, ROUNDS)
        costs += visits.lines(model)
        against += visits.against(model, 0.5, 0.5)
    return [f"{OPTIMUM.summary()}.", "", *costs, "", *against]
