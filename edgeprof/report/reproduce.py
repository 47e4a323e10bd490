"""The commands that measure the same points again, derived from the records."""

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby

from edgeprof.report.table import CPU
from edgeprof.schema import Point, StoppingRule
from edgeprof.text import visible

Product = dict[str, tuple[str, ...]]
"""Option -> values; all combinations of the values were measured."""

DEFAULT_STOPPING = StoppingRule()
OF_PROVIDERS = ("ep-option", "ep-library")  # options that may be repeated, one per provider
_LISTS = ("seq", "precision", "phase", "variant", "ep", "baseline", "on")  # the options that take several values


def commands(points: Sequence[Point], run: str) -> list[str]:
    """Export and profile commands that cover exactly these points, without options at their defaults.

    Args:
        points: the points of a run.
        run: its name.
    """
    return [*_exports(points), *(_profile(product, run) for product in products(points))]


def products(points: Sequence[Point]) -> list[Product]:
    """Merge points that differ in one dimension only, dimension by dimension, into full products."""
    merged = [_single(point, points) for point in points]
    for dimension in _LISTS:
        merged = _merge(merged, dimension)
    return merged


def _single(point: Point, points: Sequence[Point]) -> Product:
    stopping, provider = point.stopping or DEFAULT_STOPPING, point.place.provider
    baseline = point.place.is_baseline
    rounds = max(other.rounds for other in points)  # a point with fewer rounds had failed visits
    return {
        "variant": (point.subject.model,),
        "precision": (str(point.subject.precision),),
        "phase": (point.load.phase,),
        "seq": _seq(point),
        "dim": tuple(f"{name}={size}" for name, size in sorted(point.facts.dims.items())),
        "ep": (CPU,) if baseline else (provider,),
        "baseline": (_baseline(point),) if baseline else (),
        "on": (point.place.host,) if point.place.host else (),
        "batch": (str(point.load.batch),),
        "threads": (str(point.place.threads),),
        "rounds": (str(max(rounds, 1)),),
        "weights": (point.subject.weights.kind,),
        "runs": _unless(stopping.min_runs, DEFAULT_STOPPING.min_runs),
        "min-time": _unless(stopping.min_time_s, DEFAULT_STOPPING.min_time_s),
        "ep-option": tuple(f"{provider}.{name}={value}" for name, value in sorted(point.facts.ep_options.items())),
        "compile": ("",) if point.receipt.compiled else (),
        "ep-library": (f"{provider}={point.place.library}",) if point.place.library and not baseline else (),
    }


def _baseline(point: Point) -> str:
    """Its name for --baseline, with the file of its weights where it has one of its own."""
    place = point.place
    return f"{place.provider}={place.library}" if place.library else place.provider


def _seq(point: Point) -> tuple[str, ...]:
    """The value of --seq: for a user's file the requested length, which may differ from the token length."""
    length = point.facts.seq if point.facts.fills else point.load.length or None
    return () if length is None else (str(length),)


def _unless(value: float, default: float) -> tuple[str, ...]:
    """The value as an option; empty where it is the default."""
    return () if value == default else (f"{value:g}",)


def _merge(products: Sequence[Product], dimension: str) -> list[Product]:
    """Unite products that are equal in all other dimensions; options that name a provider merge with the provider."""
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
    given = [name for name in ("baseline", "on") if product[name]]
    names = ("precision", "ep", *given, "batch", "threads", "rounds")
    lists = {name: ",".join(product[name]) for name in names}
    seq = ",".join(sorted(product["seq"], key=int))
    targets = [f"{name}.onnx" if product["weights"] == ("file",) else name for name in product["variant"]]
    options = [*([("seq", seq)] if seq else []), ("phase", phase), *lists.items()]
    several = ("dim", *OF_PROVIDERS, "compile", "runs", "min-time")
    options += [(name, value) for name in several for value in product[name]]
    return _command("profile", targets, [*options, ("name", run)])


def _exports(points: Sequence[Point]) -> list[str]:
    """One export command for each kind of weights and set of precisions; users' files need none."""
    subjects = [point.subject for point in points if point.subject.weights.kind != "file"]
    kinds = sorted({(subject.weights.kind, subject.artifact, str(subject.precision)) for subject in subjects})
    chosen: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (weights, variant), group in groupby(kinds, key=lambda kind: kind[:2]):
        precisions = tuple(precision for _, _, precision in group)
        chosen.setdefault((weights, precisions), []).append(variant)
    return [
        _command("export", variants, [("precision", ",".join(precisions)), ("weights", weights)])
        for (weights, precisions), variants in chosen.items()
    ]


def _command(verb: str, targets: Sequence[str], options: Iterable[tuple[str, str]]) -> str:
    arguments = ["edgeprof", verb, *targets]
    for name, value in options:
        arguments += [f"--{name}", value] if value else [f"--{name}"]
    return visible(shlex.join(arguments))
