"""Where points ran: the share of each provider, and the warnings that belong before any latency."""

from collections.abc import Iterable, Sequence

from edgeprof.analysis.findings import BASE_PROVIDER
from edgeprof.schema import Point
from edgeprof.text import joined

NAMED = 3  # points or operators that a sentence lists by name


def with_placement(points: Iterable[Point]) -> list[Point]:
    """The points with a recorded placement: those on a provider other than the CPU."""
    return [point for point in points if point.receipt.placement is not None]


def headlines(points: Sequence[Point]) -> list[str]:
    """For each provider other than the CPU: unsupported points, points run in part, and wrong results."""
    sentences = []
    for provider in dict.fromkeys(point.place.provider for point in points if point.place.provider != BASE_PROVIDER):
        mine = [point for point in points if point.place.provider == provider]
        sentences += [_emulated(provider, mine), _unsupported(provider, mine), _in_part(provider, mine), _wrong(mine)]
    return list(filter(None, sentences))


def _emulated(provider: str, points: Sequence[Point]) -> str:
    if not any(point.place.emulated for point in points):
        return ""
    return f"{provider} is emulated here: the path works, but its times are not meaningful and enter no comparison."


def _unsupported(provider: str, points: Sequence[Point]) -> str:
    unsupported = [point for point in points if point.status == "unsupported"]
    if not unsupported:
        return ""
    return f"{provider} does not support {_share(unsupported, points)}: {_names(unsupported)}. They have no times."


def _in_part(provider: str, points: Sequence[Point]) -> str:
    partly = [point for point in points if point.status == "ok" and point.receipt.share_text]
    if not partly:
        return ""
    least = min(partly, key=lambda point: point.receipt.share or 0.0)
    at_least = f"at least {least.receipt.share_text} ({_name(least)})"
    return f"{provider} ran only a part of {_share(partly, points)}, {at_least}; the CPU ran the rest."


def _wrong(points: Sequence[Point]) -> str:
    wrong = [point for point in points if point.status == "ok" and point.receipt.difference_text]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda point: point.receipt.max_rel_error or 0.0)
    others = f" (the worst of {len(wrong)} such points)" if len(wrong) > 1 else ""
    where = f"{_name(worst)} on {worst.place.provider}"
    return f"{where}: {worst.receipt.difference_text}{others}; such times enter no comparison."


def _name(point: Point) -> str:
    """The label of a point, without the provider, which the sentence names."""
    return f"{point.subject.model} {point.subject.precision}, {point.load.label}"


def _names(points: Sequence[Point]) -> str:
    """The models of the points: a provider that does not support one length usually supports none."""
    models = list(dict.fromkeys(f"{point.subject.model} {point.subject.precision}" for point in points))
    more = [f"{len(models) - NAMED} more"] if len(models) > NAMED else []
    return joined(models[:NAMED] + more)


def _share(some: Sequence[Point], of: Sequence[Point]) -> str:
    return f"{len(some)} of its {len(of)} points" if len(some) < len(of) else _all(len(of))


def _all(count: int) -> str:
    return f"all of its {count} points" if count > 1 else "its only point"


# --- the caption of the figure ---------------------------------------------------------------------------


def caption(points: Sequence[Point]) -> str:
    """For each provider: how many points it ran entirely, and which operators of the others went to the CPU."""
    sentences = []
    ran = [point for point in points if point.status == "ok"]
    for provider in dict.fromkeys(point.place.provider for point in ran):
        mine = [point for point in ran if point.place.provider == provider]
        partly = [point for point in mine if point.receipt.share_text]
        if not partly:
            sentences.append(f"{provider} ran all multiplications of {_all(len(mine))}.")
            continue
        least = min(partly, key=lambda point: point.receipt.share or 0.0)
        share, whole = f"{least.receipt.share_text} ({_name(least)}){_left(partly)}", len(mine) - len(partly)
        entire = f"all multiplications of {whole} of its {len(mine)} points, and at least" if whole else "at least"
        sentences.append(f"{provider} ran {entire} {share}.")
    return " ".join(sentences)


def _left(partly: Sequence[Point]) -> str:
    """Operators that went to the CPU, those with the most MACs first."""
    macs: dict[str, int] = {}
    for placement in (point.receipt.placement for point in partly):
        for left in placement.left if placement else ():
            macs[left.operator] = max(macs.get(left.operator, 0), left.macs or 0)
    most = sorted(macs, key=lambda operator: -macs[operator])[:NAMED]
    return f"; left to the CPU: {joined(most)}" if most else ""
