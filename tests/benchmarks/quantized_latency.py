"""Latency of quantized models over that of the fp32 file, and against what people use today on the same file.

A visit is one file in one process, loaded once and run at every shape (at least three runs and a quarter of a second
each); files are visited in turn, in an order shuffled in each round, one process alive at a time. A figure is the
median over rounds of a ratio within one round, with its range. Prefill: tokens at once. Decode: one token after so many
cached ones. Weights are random; static recipes are calibrated on random data.
"""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from edgeprof.schema import Artifact, Case
from tests.benchmarks import quantizing
from tests.benchmarks.peer_environments import OPTIMUM
from tests.benchmarks.peer_latency import AGAINST, FILES, FP32, Candidate, Rival, compared, prepare
from tests.benchmarks.timing import shapes, time_lengths

TITLE = "Latency: quantized, against fp32 and against what people use today"
ROUNDS = 3
RECIPES = ("fp16", "int8", "int8-static", "int8-weights", "int4")

PREFILL = {f"prefill {tokens}": Case(batch=1, tokens=tokens) for tokens in (16, 128, 512)}
DECODE = {f"decode {past}": Case(batch=1, tokens=1, past_tokens=past) for past in (128, 900)}
MODELS = {
    "gpt2": PREFILL | DECODE,
    "bert-base": PREFILL,
    "vit-base": {"prefill 197": Case(batch=1, tokens=197)},
}
ASKED = {
    ("gpt2", "prefill 128"): 0.7,
    ("gpt2", "prefill 512"): 0.7,
    ("gpt2", "decode 128"): 0.4,
    **{("bert-base", shape): 1.0 for shape in PREFILL},
    ("vit-base", "prefill 197"): 1.0,
}
"""Latency of edgeprof's int8 over theirs, at most."""


class Latencies:
    """Medians in seconds, one per round, by candidate and shape."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def add(self, candidate: Candidate, shape: str, value_s: float) -> None:
        self.seconds.setdefault((candidate.name, shape), []).append(value_s)

    def ratios(self, one: str, other: str, shape: str) -> list[float]:
        pairs = zip(self.seconds[one, shape], self.seconds[other, shape], strict=True)
        return [a / b for a, b in pairs]


def run() -> list[str]:
    files, against = list(FILES), list(AGAINST)
    tables: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for model, cases in MODELS.items():
            source = quantizing.export(work, model)
            built = prepare(work, source, next(iter(cases.values())), RECIPES)
            files += built.told
            latencies = _visit(built.candidates, source, cases, work)
            tables += _ratios(model, built.candidates, cases, latencies)
            against += [line for rival in built.rivals for line in _compare(model, rival, cases, latencies)]
    optimum = f"optimum-onnx, in its own environment: {OPTIMUM.summary()}."
    return [optimum, "", *files, "", "Latency over that of fp32 (below 1: faster):", "", *tables, *against]


def _visit(candidates: Sequence[Candidate], source: Artifact, cases: dict[str, Case], work: Path) -> Latencies:
    latencies = Latencies()
    values = {it.name: shapes(it.file, source.variant, list(cases.values())) for it in candidates}
    for number in range(ROUNDS):
        order = list(candidates)
        random.Random(number).shuffle(order)
        for candidate in order:
            medians = time_lengths(candidate.file, values[candidate.name], work)
            for shape, value_s in zip(cases, medians, strict=True):
                latencies.add(candidate, shape, value_s)
    return latencies


def _ratios(model: str, candidates: Sequence[Candidate], cases: dict[str, Case], latencies: Latencies) -> list[str]:
    lines = [f"| {model} | {' | '.join(cases)} |", "|---" * (1 + len(cases)) + "|"]
    absolute = (f"1 ({1000 * median(latencies.seconds[FP32, shape]):.1f} ms)" for shape in cases)
    lines.append(f"| {FP32} | {' | '.join(absolute)} |")
    for candidate in candidates[1:]:
        cells = (_range(latencies.ratios(candidate.name, FP32, shape)) for shape in cases)
        lines.append(f"| {candidate.name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _compare(model: str, rival: Rival, cases: dict[str, Case], latencies: Latencies) -> list[str]:
    lines = []
    for shape in cases:
        ratios = latencies.ratios(rival.ours.name, rival.theirs.name, shape)
        requested = ASKED.get((model, shape)) if rival.recipe == "int8" else None
        lines.append(compared(model, rival, shape, _range(ratios), median(ratios), requested))
    return lines


def _range(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
