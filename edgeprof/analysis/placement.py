"""Where points ran: which provider did what of each, and what has to be said of it before any time is."""

from collections.abc import Iterable, Sequence

from edgeprof.analysis.findings import BASE_PROVIDER
from edgeprof.schema import Point
from edgeprof.text import joined

NAMED = 3  # points, or operators, that a sentence names


def placed(points: Iterable[Point]) -> list[Point]:
    """Those of the points whose placement is known: on other providers than the CPU's."""
    return [point for point in points if point.receipt.placement is not None]


def headlines(points: Sequence[Point]) -> list[str]:
    """Of each provider beside the CPU's: what it did not run, what it ran in part, where its result is wrong."""
    sentences = []
    for provider in dict.fromkeys(point.place.provider for point in points if point.place.provider != BASE_PROVIDER):
        mine = [point for point in points if point.place.provider == provider]
        sentences += [_emulated(provider, mine), _unsupported(provider, mine), _in_part(provider, mine), _wrong(mine)]
    return list(filter(None, sentences))


def _emulated(provider: str, points: Sequence[Point]) -> str:
    if not any(point.place.emulated for point in points):
        return ""
    return f"{provider} is emulated here: the path is proven, the time means nothing, and no comparison holds it."


def _unsupported(provider: str, points: Sequence[Point]) -> str:
    lost = [point for point in points if point.status == "unsupported"]
    if not lost:
        return ""
    return f"{provider} did not take {_share(lost, points)}: {_names(lost)}. They have no times."


def _in_part(provider: str, points: Sequence[Point]) -> str:
    partly = [point for point in points if point.status == "ok" and point.receipt.share_text]
    if not partly:
        return ""
    least = min(partly, key=lambda point: point.receipt.share or 0.0)
    at_least = f"at the least {least.receipt.share_text} ({_name(least)})"
    return f"{provider} ran only a part of {_share(partly, points)}, {at_least}; the CPU ran the rest."


def _wrong(points: Sequence[Point]) -> str:
    wrong = [point for point in points if point.status == "ok" and point.receipt.difference_text]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda point: point.receipt.max_rel_error or 0.0)
    others = f" (the worst of {len(wrong)} points like that)" if len(wrong) > 1 else ""
    where = f"{_name(worst)} on {worst.place.provider}"
    return f"{where}: {worst.receipt.difference_text}{others}; no comparison holds such times."


def _name(point: Point) -> str:
    """Its label, in a sentence that names the provider."""
    return point.key.label.replace(f" on {point.place.provider}", "")


def _names(points: Sequence[Point]) -> str:
    """Models rather than points: what one length lacks, all usually do."""
    models = list(dict.fromkeys(f"{point.subject.model} {point.subject.precision}" for point in points))
    more = [f"{len(models) - NAMED} more"] if len(models) > NAMED else []
    return joined(models[:NAMED] + more)


def _share(some: Sequence[Point], of: Sequence[Point]) -> str:
    return f"{len(some)} of its {len(of)} points" if len(some) < len(of) else _all(len(of))


def _all(count: int) -> str:
    return f"all of its {count} points" if count > 1 else "its only point"


# --- the caption of the figure ---------------------------------------------------------------------------


def caption(found: Sequence[Point]) -> str:
    """Of each provider how many points it ran whole, and what kept it from the others. Unsupported ones ran nowhere."""
    sentences = []
    ran = [point for point in found if point.status == "ok"]
    for provider in dict.fromkeys(point.place.provider for point in ran):
        mine = [point for point in ran if point.place.provider == provider]
        partly = [point for point in mine if point.receipt.share_text]
        if not partly:
            sentences.append(f"{provider} did all multiplications of {_all(len(mine))}.")
            continue
        least = min(partly, key=lambda point: point.receipt.share or 0.0)
        share, whole = f"{least.receipt.share_text} ({_name(least)}){_left(partly)}", len(mine) - len(partly)
        did = f"all multiplications of {whole} of its {len(mine)} points, and at the least" if whole else "at the least"
        sentences.append(f"{provider} did {did} {share}.")
    return " ".join(sentences)


def _left(partly: Sequence[Point]) -> str:
    """The operators that went to the CPU, those with the most MACs first."""
    macs: dict[str, int] = {}
    for placement in (point.receipt.placement for point in partly):
        for left in placement.left if placement else ():
            macs[left.operator] = max(macs.get(left.operator, 0), left.macs or 0)
    most = sorted(macs, key=lambda operator: -macs[operator])[:NAMED]
    return f"; left to the CPU: {joined(most)}" if most else ""
