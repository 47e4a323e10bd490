"""Latencies of several candidates at several shapes: visited in turn, one process alive at a time."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.harness import Failed, python


@dataclass(frozen=True)
class Timed:
    """`command` are the words of a Python process that prints [median, least] of each shape as JSON."""

    name: str
    command: tuple[str | Path, ...]


@dataclass
class Latencies:
    """Medians and least values in seconds, one per round, by candidate and shape."""

    shapes: tuple[str, ...]
    medians: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    least: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def best(self, name: str, shape: str) -> float:
        return min(self.least[name, shape])

    def lines(self, model: str) -> list[str]:
        """A table: the least latency of all rounds, and the medians' range, in ms."""
        lines = [f"| {model}, ms | {' | '.join(self.shapes)} |", "|---" * (1 + len(self.shapes)) + "|"]
        for name in dict.fromkeys(name for name, _ in self.least):
            cells = (self._cell(name, shape) for shape in self.shapes)
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += [f"| {name} | fails: {why} |{' |' * (len(self.shapes) - 1)}" for name, why in self.failures.items()]
        return [*lines, ""]

    def _cell(self, name: str, shape: str) -> str:
        medians = self.medians[name, shape]
        return f"{1e3 * self.best(name, shape):.1f} ({1e3 * min(medians):.1f} to {1e3 * max(medians):.1f})"

    def against(self, model: str, ours: str, theirs: Sequence[str], shape: str, asked: float | None) -> list[str]:
        """A row of AGAINST: the least latency over that of the best of the others."""
        present = [name for name in theirs if (name, shape) in self.least]
        if (ours, shape) not in self.least or not present:
            return []
        best = min(present, key=lambda name: self.best(name, shape))
        ratio = self.best(ours, shape) / self.best(best, shape)
        wanted, met = ("", "") if asked is None else (f"{asked:.1f}", "yes" if ratio <= asked else "no")
        return [f"| {model} | {shape} | {ours} | {best} | {ratio:.2f} | {wanted} | {met} |"]


AGAINST = ["| model | shape | edgeprof | best of others | ours / theirs | asked | |", "|---|---|---|---|---|---|---|"]


def visit(candidates: Sequence[Timed], shapes: Sequence[str], work: Path, rounds: int) -> Latencies:
    """Time every candidate in every round, in shuffled order; one that fails is not visited again."""
    latencies = Latencies(tuple(shapes))
    for number in range(rounds):
        order = [one for one in candidates if one.name not in latencies.failures]
        random.Random(number).shuffle(order)
        for one in order:
            try:
                output = python(*one.command, cwd=work).output
            except Failed as problem:
                latencies.failures[one.name] = problem.last_line[:160]
                continue
            for shape, (middle, least) in zip(shapes, json.loads(output.strip().splitlines()[-1]), strict=True):
                latencies.medians.setdefault((one.name, shape), []).append(middle)
                latencies.least.setdefault((one.name, shape), []).append(least)
    return latencies
