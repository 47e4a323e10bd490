"""Every recipe of edgeprof: the size of what it writes, the weights it reaches, and what `edgeprof quantize` takes.

The command as a user runs it, one time each: quantizing, and the checks against fp32 after it. Weights are random, so
accuracy is not looked at; where a recipe needs calibration data, that is random too. Peak RSS is that of the largest
process.
"""

import tempfile
from pathlib import Path

from edgeprof.schema import Artifact
from tests.benchmarks.harness import Cost, Failed
from tests.benchmarks.quantizing import calibration, export, quantize, recipes, size_bytes

TITLE = "Recipes: bytes, wall time, peak memory"
MODELS = ("gpt2", "bert-base")


def run() -> list[str]:
    lines = [
        "| model | recipe | MB | bytes per parameter | weight bytes quantized | weights of matmuls left | wall, s "
        "| peak RSS, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for model in MODELS:
            lines.append(_row(export(work, model), None))
            for recipe in recipes():
                try:
                    lines.append(_row(*quantize(work, model, recipe)))
                except Failed as problem:
                    lines.append(f"| {model} | {recipe} | failed: {problem.last_line} | | | | | |")
    return lines


def _row(artifact: Artifact, cost: Cost | None) -> str:
    size, receipt = size_bytes(Path(artifact.location)), artifact.graph().quantization
    precision = str(artifact.precision)
    label = precision + (" (random calibration)" if calibration(precision) else "")
    share = f"{receipt.weight_bytes_quantized / receipt.weight_bytes:.1%}" if receipt else ""
    left = f"{receipt.matmuls - receipt.matmuls_quantized} of {receipt.matmuls}" if receipt else ""
    took = f"{cost.wall_s:.1f} | {cost.peak_rss_bytes / 1e9:.2f}" if cost else " | "
    per_parameter = f"{size / artifact.params:.3f}"
    return f"| {artifact.name} | {label} | {size / 1e6:.1f} | {per_parameter} | {share} | {left} | {took} |"
