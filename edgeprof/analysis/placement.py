"""Where points ran: which provider did what of each, and what has to be said of it before any time is."""

from collections.abc import Iterable, Sequence

from edgeprof import units
from edgeprof.analysis.findings import BASE_PROVIDER
from edgeprof.schema import Measurement, PlacedPoint, Point
from edgeprof.text import joined

NAMED = 3  # points, or operators, that a sentence names


def placed(measurements: Iterable[Measurement], points: Iterable[Point]) -> list[PlacedPoint]:
    """Points with the newest placement that their visits hold, in the order of the points."""
    newest = {_key(record): record.placement for record in measurements if record.placement is not None}
    return [PlacedPoint(point=point, placement=newest[_key(point)]) for point in points if _key(point) in newest]


def _key(one: Point | Measurement) -> tuple[object, ...]:
    names = ("variant", "precision", "provider", "emulated", "phase", "batch", "tokens", "past_tokens", "threads")
    return (one.machine_id, *(getattr(one, name) for name in names))


# --- what is to be said --------------------------------------------------------------------------------


def headlines(points: Sequence[Point]) -> list[str]:
    """Of each provider beside the CPU's: what it did not run, what it ran in part, where its result is wrong."""
    told = []
    for provider in dict.fromkeys(point.provider for point in points if point.provider != BASE_PROVIDER):
        mine = [point for point in points if point.provider == provider]
        told += [_emulated(provider, mine), _unsupported(provider, mine), _in_part(provider, mine), _wrong(mine)]
    return list(filter(None, told))


def _emulated(provider: str, points: Sequence[Point]) -> str:
    if not any(point.emulated for point in points):
        return ""
    return f"{provider} is emulated here: the path is proven, the time means nothing, and no comparison holds it."


def _unsupported(provider: str, points: Sequence[Point]) -> str:
    lost = [point for point in points if point.status == "unsupported"]
    if not lost:
        return ""
    return f"{provider} did not take {_share(lost, points)}: {_names(lost)}. They have no times."


def _in_part(provider: str, points: Sequence[Point]) -> str:
    partly = [point for point in points if point.status == "ok" and point.share_told]
    if not partly:
        return ""
    least = min(partly, key=lambda point: point.share or 0.0)
    return (
        f"{provider} ran only a part of {_share(partly, points)}, at the least {least.share_told} ({name(least)}); "
        "the CPU ran the rest."
    )


def _wrong(points: Sequence[Point]) -> str:
    wrong = [point for point in points if point.status == "ok" and point.verdict_told]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda point: point.max_rel_error or 0.0)
    others = f" (the worst of {len(wrong)} points like that)" if len(wrong) > 1 else ""
    return f"{name(worst)} on {worst.provider}: {worst.verdict_told}{others}; no comparison holds such times."


def name(point: Point) -> str:
    """ "gpt2 a8w8, decode at 64 tokens" """
    at = f" at {units.counted(point.length, 'token')}" if point.length else ""
    return f"{point.variant} {point.precision}, {point.phase}{at}"


def _names(points: Sequence[Point]) -> str:
    """Models rather than points: what one length lacks, all usually do."""
    models = list(dict.fromkeys(f"{point.variant} {point.precision}" for point in points))
    more = [f"{len(models) - NAMED} more"] if len(models) > NAMED else []
    return joined(models[:NAMED] + more)


def _share(some: Sequence[Point], of: Sequence[Point]) -> str:
    return f"{len(some)} of its {len(of)} points" if len(some) < len(of) else _all(len(of))


def _all(count: int) -> str:
    return f"all of its {count} points" if count > 1 else "its only point"


# --- the caption of the figure ---------------------------------------------------------------------------


def caption(found: Sequence[PlacedPoint]) -> str:
    """Of each provider how many points it ran whole, and what kept it from the others. Unsupported ones ran nowhere."""
    told = []
    ran = [one for one in found if one.point.status == "ok"]
    for provider in dict.fromkeys(one.point.provider for one in ran):
        mine = [one for one in ran if one.point.provider == provider]
        partly = [one for one in mine if one.point.share_told]
        if not partly:
            told.append(f"{provider} did all multiplications of {_all(len(mine))}.")
            continue
        least = min(partly, key=lambda one: one.placement.share)
        share, whole = f"{least.point.share_told} ({name(least.point)}){_left(partly)}", len(mine) - len(partly)
        did = f"all multiplications of {whole} of its {len(mine)} points, and at the least" if whole else "at the least"
        told.append(f"{provider} did {did} {share}.")
    return " ".join(told)


def _left(partly: Sequence[PlacedPoint]) -> str:
    """The operators that went to the CPU, those with the most MACs first."""
    macs: dict[str, int] = {}
    for one in partly:
        for left in one.placement.left:
            macs[left.operator] = max(macs.get(left.operator, 0), left.macs or 0)
    most = sorted(macs, key=lambda operator: -macs[operator])[:NAMED]
    return f"; left to the CPU: {joined(most)}" if most else ""
