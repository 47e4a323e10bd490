"""Peak memory of `edgeprof export` for large checkpoints: qwen3-0.6b and gpt2-xl (fp32, random weights).

The sum over all processes of the command, sampled. Asked for: at most 1.3x the weights, and 1 GB.
"""

import tempfile
from pathlib import Path

from tests.benchmarks import checkpoints
from tests.benchmarks.exporters import EDGEPROF
from tests.benchmarks.harness import Failed

TITLE = "Memory of an export: large decoders"
CONFIGS = {"qwen3-0.6b": checkpoints.QWEN3, "gpt2-xl": checkpoints.GPT2_XL}


def run() -> list[str]:
    lines = ["| model | weights, GB | peak memory, GB | asked, GB | | wall time, s |", "|---|---|---|---|---|---|"]
    for model, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            checkpoint = checkpoints.write(work / model, config)
            weights = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors")) / 1e9
            try:
                cost = EDGEPROF(checkpoint, work / "exported")
            except Failed as problem:
                lines.append(f"| {model} | {weights:.2f} | fails: {problem.last_line[:160]} | | | |")
                continue
        asked, peak = 1.3 * weights + 1, cost.tree_rss_bytes / 1e9
        met = "yes" if peak <= asked else "no"
        lines.append(f"| {model} | {weights:.2f} | {peak:.2f} | {asked:.2f} | {met} | {cost.wall_s:.1f} |")
    return lines
