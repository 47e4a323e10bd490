"""What is said of the same point measured twice: in one precision and another, on the CPU and another provider."""

import statistics
from collections.abc import Iterable, Sequence

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import BASE_PROVIDER, Comparison
from edgeprof.analysis.narrative import Told
from edgeprof.text import joined


def precisions(told: Told) -> str:
    """Each precision against fp32, on each provider by itself."""
    groups = _grouped(findings.comparisons(told.points), "precision", "provider")
    several = len({point.provider for point in told.points}) > 1
    return " ".join(
        _against(told, pairs, precision, pairs[0].base.precision, f" on {provider}" if several else "")
        for (precision, provider), pairs in groups.items()
    )


def providers(told: Told) -> str:
    """Each provider against the CPU's, in each precision by itself."""
    groups = _grouped(findings.provider_comparisons(told.points), "provider", "precision")
    several = len({point.precision for point in told.points}) > 1
    return " ".join(
        _against(told, pairs, f"on {provider}", f"on {BASE_PROVIDER}", f" of {precision}" if several else "")
        for (provider, precision), pairs in groups.items()
    )


def _grouped(pairs: Iterable[Comparison], *fields: str) -> dict[tuple[str, ...], list[Comparison]]:
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for pair in pairs:
        groups.setdefault(tuple(getattr(pair.point, field) for field in fields), []).append(pair)
    return groups


def _against(told: Told, pairs: Sequence[Comparison], one: str, base: str, which: str) -> str:
    """
    Args:
        one, base: what differs, with its preposition if it has one: "int8" or "on webgpu".
        which: what all pairs share and others do not, to stand behind the phase.
    """
    if len(pairs) == 1:
        return _one_against(told, pairs[0], one, base, which)
    faster = [pair for pair in pairs if pair.speed.clear and pair.speed.value > 1]
    slower = [pair for pair in pairs if pair.speed.clear and pair.speed.value < 1]
    unclear = [pair for pair in pairs if not pair.speed.clear]
    parts = []
    if faster:
        best = max(faster, key=lambda pair: pair.speed.value)
        median = statistics.median(pair.speed.value for pair in faster)
        up_to = f"median {units.ratio(median)}, up to {units.ratio(best.speed.value)}: {_where(told, best)}"
        parts.append(f"faster at {_share(faster, pairs)} ({up_to})")
    if slower:
        worst = min(slower, key=lambda pair: pair.speed.value)
        down_to = f"down to {units.ratio(worst.speed.value)}: {_where(told, worst)}"
        parts.append(f"slower at {_share(slower, pairs)} ({down_to})")
    if unclear:
        parts.append(f"without a clear difference at {_share(unclear, pairs)}")
    return f"{told.phase.capitalize()}{which} {_within(one)} against {_plain(base)}: {joined(parts)}.{_parts(pairs)}"


def _within(name: str) -> str:
    return name if name.startswith("on ") else f"in {name}"


def _plain(name: str) -> str:
    return name.removeprefix("on ")


def _one_against(told: Told, pair: Comparison, one: str, base: str, which: str) -> str:
    where, speed = _where(told, pair), pair.speed
    if not speed.clear:
        between = f"{_plain(one)} and {_plain(base)}"
        return f"No clear difference between {between} in the {told.phase}{which} of {where}: the intervals overlap."
    return (
        f"{told.phase.capitalize()}{which} of {where} is {units.ratio(speed.value)} as fast {_within(one)} as "
        f"{_within(base)} (95 % interval {units.number(speed.low)} to {units.number(speed.high)})."
    )


def _where(told: Told, pair: Comparison) -> str:
    """The point, and how much of it ran where it was asked to, if that is not all."""
    where = f"{pair.point.variant} at {told.tokens(pair.point)}"
    shares = {one.precision: one.share_told for one in (pair.point, pair.base) if one.provider != BASE_PROVIDER}
    if not any(shares.values()):
        return where
    if len(set(shares.values())) == 1:
        return f"{where}, {pair.point.share_told} on {pair.point.provider}"
    parts = joined([f"{share or 'all'} in {precision}" for precision, share in shares.items()])
    return f"{where}, {parts} on {pair.point.provider}"


def _parts(pairs: Sequence[Comparison]) -> str:
    """What is to be said where the provider ran only a part of some of them."""
    some = [pair for pair in pairs if pair.point.share_told or pair.base.share_told]
    if not some:
        return ""
    provider = some[0].point.provider
    return f" At {_share(some, pairs)} {provider} ran only a part, the CPU the rest."


def _share(some: Sequence[Comparison], of: Sequence[Comparison]) -> str:
    if len(some) < len(of):
        return f"{len(some)} of {len(of)} points"
    return f"all {len(of)} points" if len(of) > 1 else "the only point"
