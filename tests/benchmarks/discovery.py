"""`edgeprof devices`, whole process: wall time (median and range of seven), cold and remembered.

Asked for: at most 3 s when every provider is asked, 0.3 s when the answer is remembered. WebGPU on SwiftShader and QNN
on its emulator are installed, so four children compute or say why not.
"""

import os
import tempfile
from pathlib import Path

from tests.benchmarks.harness import edgeprof, spread
from tests.environments import SWIFTSHADER

TITLE = "Devices: cost of a discovery"
TIMES = 7


def run() -> list[str]:
    lines = ["| | wall, s |", "|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        os.environ.update(SWIFTSHADER, EDGEPROF_CACHE=str(work / "cache"))
        try:
            cold = [edgeprof("devices", "--refresh", cwd=work).wall_s for _ in range(TIMES)]
            warm = [edgeprof("devices", cwd=work).wall_s for _ in range(TIMES)]
        finally:
            for name in (*SWIFTSHADER, "EDGEPROF_CACHE"):
                os.environ.pop(name)
    return [*lines, f"| every provider asked | {spread(cold)} |", f"| remembered | {spread(warm)} |"]
