"""Bytes of quantized models over those of what people use today, on the same fp32 file.

Graph and weights of the file as it is written. Weight-only 4 bits are compared as each comes (edgeprof: blocks of 32,
symmetric; MatMulNBitsQuantizer: blocks of 128 with zero points) and at equal settings, either's. Weights are random.
"""

import tempfile
from pathlib import Path

from edgeprof.schema import Case
from tests.benchmarks import quantizing
from tests.benchmarks.peer_environments import OPTIMUM
from tests.benchmarks.peer_latency import AGAINST, FILES, compared, prepare
from tests.benchmarks.quantizing import size_bytes

TITLE = "Bytes: quantized, against what people use today"
RECIPES = ("int8", "int8-static", "int4", "int4-block128-asymmetric")
MODELS = {
    "gpt2": Case(batch=1, tokens=16),
    "bert-base": Case(batch=1, tokens=16),
    "vit-base": Case(batch=1, tokens=197),
}


def run() -> list[str]:
    files, against = list(FILES), list(AGAINST)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for model, case in MODELS.items():
            built = prepare(work, quantizing.export(work, model), case, RECIPES)
            files += built.told
            for rival in built.rivals:
                ratio = size_bytes(rival.ours.file) / size_bytes(rival.theirs.file)
                against.append(compared(model, rival, "bytes", f"{ratio:.4f}", ratio, 1.0))
    return [f"optimum-onnx, in its own environment: {OPTIMUM.summary()}.", "", *files, "", *against]
