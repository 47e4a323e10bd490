"""From which length on attention takes longer than the MLP, in profiled runs of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from edgeprof import units
from edgeprof.schema import OperatorPass, PointKey

ATTENTION, MLP = "attention scores", "MLP"


def sentences(passes: Iterable[OperatorPass]) -> Iterator[str]:
    """For each model, precision and phase whose modules were timed at two lengths or more.

    The crossover lies between two measured lengths, which are its interval; within, both modules are taken to grow by
    powers of the length.
    """
    lines: dict[PointKey, dict[int, float]] = {}
    for each in passes:
        times = {module.module: module.time_s for module in each.modules}
        if each.load.length and times.get(ATTENTION) and times.get(MLP):
            lines.setdefault(each.key.series, {})[each.load.length] = times[ATTENTION] / times[MLP]
    for key, line in lines.items():
        if len(line) > 1:
            yield _sentence(key, sorted(line.items()))


def _sentence(key: PointKey, ratios: Sequence[tuple[int, float]]) -> str:
    """
    Args:
        ratios: lengths, ascending, and the time of attention over that of the MLP.
    """
    name = f"{key.subject.model} {key.subject.precision}, {key.load.phase}"
    (shortest, first), (longest, last) = ratios[0], ratios[-1]
    span = f"{shortest:,} to {longest:,} tokens"
    if (first < 1) == (last < 1):
        than = "less" if last < 1 else "more"
        return (
            f"{name}: attention scores take {than} time than the MLP at {span} ({units.ratio(last)} at {longest:,}); "
            "a crossover is not in the measured range."
        )
    (short, before), (long, after) = next(
        pair for pair in reversed(list(pairwise(ratios))) if (pair[0][1] < 1) != (pair[1][1] < 1)
    )
    tokens = short * (long / short) ** (math.log(1 / before) / math.log(after / before))
    than = "longer" if after >= 1 else "no longer"
    return (
        f"{name}: attention scores take {than} than the MLP from {tokens:,.0f} tokens on "
        f"(between {short:,} and {long:,}; measured {span})."
    )
