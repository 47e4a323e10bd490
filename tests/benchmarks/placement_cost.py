"""Points on other providers: what receipts cost, and what compiling beforehand saves. Devices are emulated.

Receipts (tailoring the graph; placement and comparison with the CPU in a process of its own) are made before anything
is timed. That they stay out of what is timed: median latency of `edgeprof profile` over that of a bare loop around a
session opened by hand, in turn, each in a process of its own. Load: of the measuring process, in turn without and with
`--compile` on QNN.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from msgspec.structs import replace

from edgeprof import process
from edgeprof.api.targets import one_model
from edgeprof.inputs import signature
from edgeprof.inputs.run_inputs import of_variant
from edgeprof.measure.placement_worker import PlacementReading, PlacementRequest
from edgeprof.providers.resolve import resolve
from edgeprof.schema import CPU, Case, Precision, Request, StoppingRule
from edgeprof.stages.provider_graph import prepare_for_provider
from tests.benchmarks.harness import edgeprof, spread
from tests.environments import SWIFTSHADER

TITLE = "Providers: cost of receipts, load with and without a compiled model"
MODELS = ("bert-mini",)
TOKENS = {"bert-mini": 64}
ROUNDS = 3


def run() -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        os.environ.update(SWIFTSHADER, EDGEPROF_CACHE=str(work / "cache"))
        try:
            edgeprof("export", *MODELS, cwd=work)
            return [*_receipts(work), "", *_loads(work)]
        finally:
            for name in (*SWIFTSHADER, "EDGEPROF_CACHE"):
                os.environ.pop(name)


def _receipts(work: Path) -> list[str]:
    lines = [
        "| model | provider | tailoring, s | again, s | placement and comparison, s | timed, over a bare loop |",
        "|---|---|---|---|---|---|",
    ]
    for name in MODELS:
        for provider in ("webgpu", "qnn"):
            first_s, again_s, placed_s = _receipt(work, name, provider)
            ratios = [_timed_s(work, name, provider, turn) / _bare_s(work, name, provider) for turn in range(ROUNDS)]
            row = [name, provider, f"{first_s:.2f}", f"{again_s:.2f}", f"{placed_s:.2f}", spread(ratios)]
            lines.append(f"| {' | '.join(row)} |")
    return lines


def request(work: Path, name: str, provider: str) -> Request:
    artifact, (target,) = one_model(name, work / "models"), resolve([provider])
    case = Case(batch=1, tokens=TOKENS[name])
    inputs = of_variant(signature(artifact.graph().inputs), artifact.variant, case)
    built = prepare_for_provider(artifact.graph(), target, inputs.sizes.shapes, work / "cache" / "graphs")
    return Request(
        model=built.path,
        weights_folder=built.weights_folder,
        target=target,
        threads=os.cpu_count() or 1,
        inputs=inputs.values,
        stopping=StoppingRule(),
    )


def _receipt(work: Path, name: str, provider: str) -> tuple[float, float, float]:
    times_s = []
    for _ in range(2):
        started = time.perf_counter()
        requested = request(work, name, provider)
        times_s.append(time.perf_counter() - started)
    started = time.perf_counter()
    process.call(
        "edgeprof.measure.placement_worker",
        PlacementRequest(
            request=requested, original=replace(requested, target=CPU), precision=Precision(recipe="fp32")
        ),
        PlacementReading,
    )
    return times_s[0], times_s[1], time.perf_counter() - started


def _timed_s(work: Path, name: str, provider: str, turn: int) -> float:
    run = f"{name}-{provider}-{turn}"
    records = _profile(work, name, run, "--ep", provider, "--runs", "5", "--min-time", "1")
    return median(records[-1]["outcome"]["reading"]["latencies_s"])


def _bare_s(work: Path, name: str, provider: str) -> float:
    """Median latency of five runs or more in a second, on a session opened by hand, its first run left out."""
    command = [sys.executable, "-m", "tests.benchmarks.bare_provider", name, provider, str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return median(json.loads(done.stdout.splitlines()[-1]))


def _loads(work: Path) -> list[str]:
    lines = ["| model on QNN | load, s | with a compiled model, s | compiled once in, s |", "|---|---|---|---|"]
    for name in MODELS:
        plain, fast = list[float](), list[float]()
        for turn in range(ROUNDS):
            common = (work, name)
            plain.append(_profile(*common, f"plain-{name}-{turn}", "--ep", "qnn")[-1]["outcome"]["reading"]["load_s"])
            (*_, record) = _profile(*common, f"compiled-{name}-{turn}", "--ep", "qnn", "--compile")
            fast.append(record["outcome"]["reading"]["load_s"])
        lines.append(f"| {name} | {spread(plain)} | {spread(fast)} | {record['receipt']['compile_s']:.2f} |")
    return lines


def _profile(work: Path, name: str, run: str, *options: str) -> list[dict[str, Any]]:
    quick = () if "--runs" in options else ("--runs", "1", "--min-time", "0")
    shape = ("--seq", str(TOKENS[name]), "--precision", "fp32", "--rounds", "1", "--max-time", 0, "--name", run)
    edgeprof("profile", name, *shape, *quick, *options, cwd=work)
    text = (work / "reports" / run / "measurements.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]
