"""Sentences that compare a point in two precisions, or on the CPU and another provider."""

import statistics
from collections.abc import Callable, Iterable, Sequence

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import BASE_PROVIDER, UNCLEAR, Comparison
from edgeprof.analysis.narrative import PhasePoints
from edgeprof.schema import ONNXRUNTIME, Point
from edgeprof.text import joined


def precisions(scope: PhasePoints) -> str:
    """Compare each precision with fp32, on each provider separately."""
    pairs = findings.comparisons(scope.points)
    groups = _grouped(pairs, lambda point: (str(point.subject.precision), point.place.label or point.place.provider))
    several = len({(point.place.host, point.place.provider) for point in scope.points}) > 1
    return " ".join(
        _against(scope, pairs, precision, str(pairs[0].base.subject.precision), f" on {provider}" if several else "")
        for (precision, provider), pairs in groups.items()
    )


def providers(scope: PhasePoints) -> str:
    """Compare each provider with the CPU, and each baseline with onnxruntime, in each precision separately."""
    groups = _grouped(
        findings.provider_comparisons(scope.points),
        lambda point: (point.place.label, str(point.subject.precision)),
    )
    several = len({point.subject.precision for point in scope.points}) > 1
    return " ".join(
        _against(scope, pairs, *_sides(pairs[0].point), f" of {precision}" if several else "")
        for (_, precision), pairs in groups.items()
    )


def _sides(point: Point) -> tuple[str, str]:
    """What a point on another provider, or of another runtime, is compared with, and as what."""
    provider = point.place.provider
    if point.place.host and not point.place.is_baseline:
        return f"on {point.place.label}", f"on its {BASE_PROVIDER}"
    return (provider, ONNXRUNTIME) if point.place.is_baseline else (f"on {provider}", f"on {BASE_PROVIDER}")


def _grouped(
    pairs: Iterable[Comparison], names: Callable[[Point], tuple[str, str]]
) -> dict[tuple[str, str], list[Comparison]]:
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for pair in pairs:
        groups.setdefault(names(pair.point), []).append(pair)
    return groups


def _against(scope: PhasePoints, pairs: Sequence[Comparison], one: str, base: str, which: str) -> str:
    """
    Args:
        one, base: the setting that differs, with its preposition if it has one: "int8" or "on webgpu".
        which: the setting that all pairs share, written after the phase.
    """
    if len(pairs) == 1:
        return _one_against(scope, pairs[0], one, base, which)
    faster = [pair for pair in pairs if pair.speed.clear and pair.speed.value > 1]
    slower = [pair for pair in pairs if pair.speed.clear and pair.speed.value < 1]
    unclear = [pair for pair in pairs if not pair.speed.clear]
    parts = []
    if faster:
        best = max(faster, key=lambda pair: pair.speed.value)
        median = statistics.median(pair.speed.value for pair in faster)
        up_to = f"median {units.ratio(median)}, up to {units.ratio(best.speed.value)}: {_where(scope, best)}"
        parts.append(f"faster at {_share(faster, pairs)} ({up_to})")
    if slower:
        worst = min(slower, key=lambda pair: pair.speed.value)
        down_to = f"down to {units.ratio(worst.speed.value)}: {_where(scope, worst)}"
        parts.append(f"slower at {_share(slower, pairs)} ({down_to})")
    if unclear:
        parts.append(f"without a clear difference at {_share(unclear, pairs)}")
    return f"{scope.phase.capitalize()}{which} {_within(one)} against {_plain(base)}: {joined(parts)}.{_parts(pairs)}"


def _within(name: str) -> str:
    return name if name.startswith("on ") else f"in {name}"


def _plain(name: str) -> str:
    return name.removeprefix("on ")


def _one_against(scope: PhasePoints, pair: Comparison, one: str, base: str, which: str) -> str:
    where, speed = _where(scope, pair), pair.speed
    if not speed.clear:
        between = f"{_plain(one)} and {_plain(base)}"
        return f"No clear difference between {between} in the {scope.phase}{which} of {where}: {UNCLEAR}."
    return (
        f"{scope.phase.capitalize()}{which} of {where} is {units.ratio(speed.value)} as fast {_within(one)} as "
        f"{_within(base)} (95 % interval {units.number(speed.low)} to {units.number(speed.high)})."
    )


def _where(scope: PhasePoints, pair: Comparison) -> str:
    """The point, with the share that ran on the requested provider if that is not all."""
    where = f"{pair.point.subject.model} at {scope.tokens(pair.point)}"
    elsewhere = [point for point in (pair.point, pair.base) if point.place.provider != BASE_PROVIDER]
    shares = {point.subject.precision: point.receipt.share_text for point in elsewhere}
    if not any(shares.values()):
        return where
    if len(set(shares.values())) == 1:
        return f"{where}, {pair.point.receipt.share_text} on {pair.point.place.provider}"
    parts = joined([f"{share or 'all'} in {precision}" for precision, share in shares.items()])
    return f"{where}, {parts} on {pair.point.place.provider}"


def _parts(pairs: Sequence[Comparison]) -> str:
    """The warning where the provider ran only a part of some points."""
    some = [pair for pair in pairs if pair.point.receipt.share_text or pair.base.receipt.share_text]
    if not some:
        return ""
    provider = some[0].point.place.provider
    return f" At {_share(some, pairs)} {provider} ran only a part, the CPU the rest."


def _share(some: Sequence[Comparison], of: Sequence[Comparison]) -> str:
    if len(some) < len(of):
        return f"{len(some)} of {len(of)} points"
    return f"all {len(of)} points" if len(of) > 1 else "the only point"
