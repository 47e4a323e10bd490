"""The commands that make the same points again, derived from the records."""

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby

from edgeprof.schema import Point, StoppingRule
from edgeprof.text import visible

Product = dict[str, tuple[str, ...]]
"""Values for each dimension: all their combinations were measured."""

USUAL = StoppingRule()
OF_PROVIDERS = ("ep-option", "ep-library")  # may be given several times
_LISTS = ("seq", "precision", "phase", "variant", "ep")  # the options that take several values


def commands(points: Sequence[Point], run: str) -> list[str]:
    """Export and profile commands that cover exactly these points; defaults that records do not hold stay unsaid.

    Args:
        points: the points of a run.
        run: its name.
    """
    return [*_exports(points), *(_profile(product, run) for product in products(points))]


def products(points: Sequence[Point]) -> list[Product]:
    """The fewest full products that a simple merge finds: points that differ in one dimension only become one."""
    merged = [_single(point, points) for point in points]
    for dimension in _LISTS:
        merged = _merge(merged, dimension)
    return merged


def _single(point: Point, points: Sequence[Point]) -> Product:
    stopping, provider = point.stopping or USUAL, point.place.provider
    rounds = max(other.rounds for other in points)  # a point with fewer had visits that failed
    return {
        "variant": (point.subject.model,),
        "precision": (str(point.subject.precision),),
        "phase": (point.load.phase,),
        "seq": _seq(point),
        "dim": tuple(f"{name}={size}" for name, size in sorted(point.facts.dims.items())),
        "ep": (provider,),
        "batch": (str(point.load.batch),),
        "threads": (str(point.place.threads),),
        "rounds": (str(max(rounds, 1)),),
        "weights": (point.subject.weights.kind,),
        "runs": _unless(stopping.min_runs, USUAL.min_runs),
        "min-time": _unless(stopping.min_time_s, USUAL.min_time_s),
        "ep-option": tuple(f"{provider}.{name}={value}" for name, value in sorted(point.facts.ep_options.items())),
        "compile": ("",) if point.receipt.compiled else (),
        "ep-library": (f"{provider}={point.place.library}",) if point.place.library else (),
    }


def _seq(point: Point) -> tuple[str, ...]:
    """What sized it: of a file from elsewhere the length that was asked for, which need not be the token length."""
    asked = point.facts.seq if point.facts.fills else point.load.length or None
    return () if asked is None else (str(asked),)


def _unless(value: float, usual: float) -> tuple[str, ...]:
    """Nothing where a value is the usual one."""
    return () if value == usual else (f"{value:g}",)


def _merge(products: Sequence[Product], dimension: str) -> list[Product]:
    """Unite products that are equal in everything else; options bear the name of a provider, and go with it."""
    together = (dimension, *OF_PROVIDERS) if dimension == "ep" else (dimension,)
    rest: dict[tuple[tuple[str, ...], ...], Product] = {}
    for product in products:
        key = tuple(values for name, values in product.items() if name not in together)
        known = rest.get(key, {})
        united = {name: tuple(dict.fromkeys((*known.get(name, ()), *product[name]))) for name in together}
        rest[key] = {**product, **united}
    return list(rest.values())


def _profile(product: Product, run: str) -> str:
    phase = product["phase"][0] if len(product["phase"]) == 1 else "both"
    lists = {name: ",".join(product[name]) for name in ("precision", "ep", "batch", "threads", "rounds")}
    seq = ",".join(sorted(product["seq"], key=int))
    targets = [f"{name}.onnx" if product["weights"] == ("file",) else name for name in product["variant"]]
    options = [*([("seq", seq)] if seq else []), ("phase", phase), *lists.items()]
    several = ("dim", *OF_PROVIDERS, "compile", "runs", "min-time")
    options += [(name, value) for name in several for value in product[name]]
    return _command("profile", targets, [*options, ("name", run)])


def _exports(points: Sequence[Point]) -> list[str]:
    """One command for each kind of weights; files that nobody exported here need none."""
    subjects = [point.subject for point in points if point.subject.weights.kind != "file"]
    kinds = sorted({(subject.weights.kind, subject.model, str(subject.precision)) for subject in subjects})
    chosen: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (weights, variant), group in groupby(kinds, key=lambda kind: kind[:2]):
        precisions = tuple(precision for _, _, precision in group)
        chosen.setdefault((weights, precisions), []).append(variant)
    return [
        _command("export", variants, [("precision", ",".join(precisions)), ("weights", weights)])
        for (weights, precisions), variants in chosen.items()
    ]


def _command(verb: str, targets: Sequence[str], options: Iterable[tuple[str, str]]) -> str:
    words = ["edgeprof", verb, *targets]
    for name, value in options:
        words += [f"--{name}", value] if value else [f"--{name}"]
    return visible(shlex.join(words))
