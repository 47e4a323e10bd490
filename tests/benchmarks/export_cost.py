"""`edgeprof export gpt2` (KV cache, simplified, verified at four shapes) against a plain dynamo export of gpt2.

Asked for: at most 1.1x the wall time, and at most 1.1 GB peak resident set in any process.
"""

import tempfile
from pathlib import Path
from statistics import median

from tests.benchmarks.harness import HERE, Cost, edgeprof, python

TITLE = "Cost of an export: gpt2"
PAIRS = 3


def run() -> list[str]:
    plain: list[Cost] = []
    ours: list[Cost] = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for _ in range(PAIRS):
            plain.append(python(HERE / "plain_export.py", cwd=work))
            ours.append(edgeprof("export", "gpt2", "--weights", "random", "--force", cwd=work))
    ratios = [a.wall_s / b.wall_s for a, b in zip(ours, plain, strict=True)]
    lines = ["| | wall time, s (median of 3) | peak resident set of any process, GB |", "|---|---|---|"]
    for name, costs in (("plain dynamo export", plain), ("edgeprof export", ours)):
        wall = median(cost.wall_s for cost in costs)
        peak = max(cost.peak_rss_bytes for cost in costs) / 1e9
        lines.append(f"| {name} | {wall:.1f} | {peak:.2f} |")
    return [*lines, "", f"Ratio of wall times: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})."]
