"""Latency of quantized models over that of the fp32 file, and against what people use today on the same file.

A visit is one file in one process, loaded once and run at every shape (at least three runs and a quarter of a second
each); files are visited in turn, in an order shuffled in each round, one process alive at a time. A figure is the
median over rounds of a ratio within one round, with its range. Prefill: tokens at once. Decode: one token after so many
cached ones. Weights are random; static recipes are calibrated on random data.
"""

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgeprof.schema import Artifact, Case
from tests.benchmarks import quantizing
from tests.benchmarks.harness import Failed
from tests.benchmarks.peers import PEERS, optimum_here, outcome
from tests.benchmarks.quantizing import size_bytes
from tests.benchmarks.timing import shapes, time_lengths
from tests.benchmarks.weights_left import weights_left

TITLE = "Latency: quantized, against fp32 and against what people use today"
ROUNDS = 3
RECIPES = ("fp16", "int8", "int8-static", "int8-weights", "int4")
FP32 = "edgeprof fp32"

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


@dataclass(frozen=True)
class Candidate:
    name: str
    file: Path


@dataclass(frozen=True)
class Rival:
    """One of edgeprof's files and one of theirs that is quantized the same way."""

    recipe: str
    ours: Candidate
    theirs: Candidate


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
    files = ["| model | file | MB | weight matmuls left | what happened |", "|---|---|---|---|---|"]
    tables: list[str] = []
    against = ["| model | edgeprof | against | what | ours / theirs | asked | |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for model, cases in MODELS.items():
            source = quantizing.export(work, model)
            candidates, rivals, told = _prepare(work, source, next(iter(cases.values())))
            files += told
            latencies = _visit(candidates, source, cases, work)
            tables += _ratios(model, candidates, cases, latencies)
            against += [line for rival in rivals for line in _compare(model, rival, cases, latencies)]
    optimum = f"optimum-onnx, in its own environment: {optimum_here()[1]}."
    return [optimum, "", *files, "", "Latency over that of fp32 (below 1: faster):", "", *tables, *against]


def _prepare(work: Path, source: Artifact, case: Case) -> tuple[list[Candidate], list[Rival], list[str]]:
    """What can be visited, what is to be compared with what, and a line for each file and each failure."""
    ours, told = [Candidate(FP32, Path(source.path))], [_told(source, Candidate(FP32, Path(source.path)), "")]
    for recipe in quantizing.recipes(*RECIPES):
        try:
            artifact, _ = quantizing.quantize(work, source.name, recipe)
        except Failed as problem:
            told.append(f"| {source.name} | edgeprof {recipe} | | | fails: {problem.last_line} |")
            continue
        ours.append(Candidate(f"edgeprof {recipe}", Path(artifact.path)))
        told.append(_told(source, ours[-1], "random calibration" if quantizing.calibration(recipe) else ""))
    by_name = {candidate.name: candidate for candidate in ours}
    theirs: list[Candidate] = []
    rivals: list[Rival] = []
    for peer in PEERS:
        made = outcome(peer, source, case, work)
        if made.file is None:
            told.append(f"| {source.name} | {peer.name} | | | {made.told} |")
            continue
        theirs.append(Candidate(peer.name, made.file))
        told.append(_told(source, theirs[-1], made.told))
        if f"edgeprof {peer.recipe}" in by_name:
            rivals.append(Rival(peer.recipe, by_name[f"edgeprof {peer.recipe}"], theirs[-1]))
    return [*ours, *theirs], rivals, told


def _told(source: Artifact, candidate: Candidate, what: str) -> str:
    size = f"{size_bytes(candidate.file) / 1e6:.1f}"
    return f"| {source.name} | {candidate.name} | {size} | {weights_left(candidate.file)} | {what} |"


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
    ours, theirs = rival.ours, rival.theirs
    lines = [_line(model, rival, "bytes", [size_bytes(ours.file) / size_bytes(theirs.file)], 1.0)]
    for shape in cases:
        asked = ASKED.get((model, shape)) if rival.recipe == "int8" else None
        lines.append(_line(model, rival, shape, latencies.ratios(ours.name, theirs.name, shape), asked))
    return lines


def _line(model: str, rival: Rival, what: str, ratios: list[float], asked: float | None) -> str:
    cell = _range(ratios) if len(ratios) > 1 else f"{ratios[0]:.3f}"
    wanted, met = ("", "") if asked is None else (f"{asked:.1f}", "yes" if median(ratios) <= asked else "no")
    return f"| {model} | {rival.recipe} | {rival.theirs.name} | {what} | {cell} | {wanted} | {met} |"


def _range(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
