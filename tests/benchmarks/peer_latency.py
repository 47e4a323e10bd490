"""Files of edgeprof's recipes beside those that people make today of the same fp32 file, and which to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprof.schema import Artifact, Case
from tests.benchmarks import quantizing
from tests.benchmarks.harness import Failed
from tests.benchmarks.peers import PEERS, outcome
from tests.benchmarks.quantizing import size_bytes
from tests.benchmarks.weights_left import weights_left

FP32 = "edgeprof fp32"
FILES = ["| model | file | MB | weight matmuls left | what happened |", "|---|---|---|---|---|"]
AGAINST = ["| model | edgeprof | against | what | ours / theirs | asked | |", "|---|---|---|---|---|---|---|"]


@dataclass(frozen=True)
class Candidate:
    name: str
    file: Path


@dataclass(frozen=True)
class Rival:
    """One of edgeprof's files and one of theirs that does the same."""

    recipe: str
    ours: Candidate
    theirs: Candidate


@dataclass(frozen=True)
class Prepared:
    candidates: tuple[Candidate, ...]  # the fp32 file first
    rivals: tuple[Rival, ...]
    told: tuple[str, ...]  # rows of FILES: one for each file and each failure


def prepare(work: Path, source: Artifact, case: Case, recipes: Sequence[str]) -> Prepared:
    """Quantize an exported model in every way there is; what comes out of the others has to run at `case`."""
    ours, summary = (
        [Candidate(FP32, Path(source.location))],
        [_file_row(source, Candidate(FP32, Path(source.location)), "")],
    )
    for recipe in recipes:
        try:
            artifact, _ = quantizing.quantize(work, source.name, recipe)
        except Failed as problem:
            summary.append(f"| {source.name} | edgeprof {recipe} | | | fails: {problem.last_line} |")
            continue
        ours.append(Candidate(f"edgeprof {recipe}", Path(artifact.location)))
        summary.append(_file_row(source, ours[-1], "random calibration" if quantizing.calibration(recipe) else ""))
    by_name = {candidate.name: candidate for candidate in ours}
    theirs: list[Candidate] = []
    rivals: list[Rival] = []
    for peer in PEERS:
        built = outcome(peer, source, case, work)
        if built.file is None:
            summary.append(f"| {source.name} | {peer.name} | | | {built.told} |")
            continue
        theirs.append(Candidate(peer.name, built.file))
        summary.append(_file_row(source, theirs[-1], built.told))
        there = [recipe for recipe in peer.recipes if f"edgeprof {recipe}" in by_name]
        rivals += [Rival(recipe, by_name[f"edgeprof {recipe}"], theirs[-1]) for recipe in there]
    return Prepared(candidates=(*ours, *theirs), rivals=tuple(rivals), told=tuple(summary))


def compared(model: str, rival: Rival, what: str, cell: str, value: float, requested: float | None) -> str:
    """A row of AGAINST: `value` is what `asked` is held against."""
    expected, met = ("", "") if requested is None else (f"{requested:.1f}", "yes" if value <= requested else "no")
    return f"| {model} | {rival.recipe} | {rival.theirs.name} | {what} | {cell} | {expected} | {met} |"


def _file_row(source: Artifact, candidate: Candidate, what: str) -> str:
    size = f"{size_bytes(candidate.file) / 1e6:.1f}"
    return f"| {source.name} | {candidate.name} | {size} | {weights_left(candidate.file)} | {what} |"
