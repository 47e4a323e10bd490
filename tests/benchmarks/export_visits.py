"""Exports of one checkpoint by several tools, visited in turn, and what they cost."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.exporters import EDGEPROF, Exporter
from tests.benchmarks.harness import Cost, Failed

COSTS = [
    "| model | exporter | wall time, s | CPU time, s | peak memory, GB | of the largest process, GB |",
    "|---|---|---|---|---|---|",
]
AGAINST = ["| model | what | edgeprof | best of the others | ratio | asked | |", "|---|---|---|---|---|---|---|"]


class Visits:
    """Costs by exporter, one of each round; an exporter that fails is not visited again."""

    def __init__(self) -> None:
        self.costs: dict[str, list[Cost]] = {}
        self.failures: dict[str, str] = {}

    def lines(self, model: str) -> list[str]:
        """Rows of COSTS: least wall time and its range, most memory."""
        rows = []
        for name, costs in self.costs.items():
            walls = [cost.wall_s for cost in costs]
            peak, largest = (max(sizes) / 1e9 for sizes in _sizes(costs))
            times = f"{min(walls):.1f} ({', '.join(f'{wall:.1f}' for wall in walls)})"
            cpu = min(cost.cpu_s for cost in costs)
            rows.append(f"| {model} | {name} | {times} | {cpu:.1f} | {peak:.2f} | {largest:.2f} |")
        return rows + [f"| {model} | {name} | fails: {why} | | | |" for name, why in self.failures.items()]

    def against(self, model: str, asked_time: float, asked_memory: float) -> list[str]:
        """Rows of AGAINST: edgeprof over the best of the others."""
        ours = self.costs.get(EDGEPROF.name)
        others = [costs for name, costs in self.costs.items() if name != EDGEPROF.name]
        if not ours or not others:
            return []
        wall = [median(cost.wall_s for cost in costs) for costs in (ours, *others)]
        peak = [max(cost.tree_rss_bytes for cost in costs) / 1e9 for costs in (ours, *others)]
        return [
            _row(model, "wall time, s", wall[0], min(wall[1:]), asked_time),
            _row(model, "peak memory, GB", peak[0], min(peak[1:]), asked_memory),
        ]


def visit(exporters: Sequence[Exporter], checkpoint: Path, work: Path, rounds: int) -> Visits:
    """Export by each of them in every round. What is written is removed."""
    visits = Visits()
    for _ in range(rounds):
        for exporter in exporters:
            if exporter.name in visits.failures:
                continue
            target = work / "exported"
            try:
                cost = exporter(checkpoint, target)
                visits.costs.setdefault(exporter.name, []).append(cost)
            except Failed as problem:
                visits.failures[exporter.name] = problem.last_line[:160]
            shutil.rmtree(target, ignore_errors=True)
    return visits


def _sizes(costs: Sequence[Cost]) -> tuple[list[int], list[int]]:
    return [cost.tree_rss_bytes for cost in costs], [cost.peak_rss_bytes for cost in costs]


def _row(model: str, what: str, ours: float, theirs: float, asked: float) -> str:
    ratio = ours / theirs
    met = "yes" if ratio <= asked else "no"
    return f"| {model} | {what} | {ours:.2f} | {theirs:.2f} | {ratio:.2f} | {asked:.1f} | {met} |"
