"""Records from flat fields, as tests speak of them: `changed(point, precision="int8", tokens=64)`."""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from edgeprof.schema import (
    Facts,
    LatencySummary,
    Load,
    MemorySummary,
    Place,
    PointKey,
    Precision,
    Record,
    Subject,
    WeightsSource,
)

R = TypeVar("R", bound=Record)

RANDOM = WeightsSource(kind="random")
PRETRAINED = WeightsSource(kind="pretrained", origin="hub")
FILE = WeightsSource(kind="file")

PATHS: dict[str, tuple[str, ...]] = {
    "variant": ("key", "subject", "model"),
    "precision": ("key", "subject", "precision"),
    "weights": ("key", "subject", "weights"),
    "digest": ("key", "subject", "digest"),
    "structure": ("key", "subject", "structure"),
    **{name: ("key", "load", name) for name in ("phase", "batch", "tokens", "past_tokens", "source_tokens")},
    **{
        name: ("key", "place", name)
        for name in ("machine_id", "host", "provider", "device", "emulated", "threads", "library")
    },
    "provider_options": ("key", "place", "options"),
    **{
        name: ("facts", name)
        for name in (
            "family",
            "params",
            "macs",
            "memory_predicted_bytes",
            "seq",
            "dims",
            "fills",
            "ep_options",
        )
    },
    **{
        name: ("receipt", name)
        for name in ("static", "placement", "agreement", "compiled", "compile_s", "load_plain_s")
    },
    **{f"latency_{name}": ("latency", name) for name in ("median_s", "ci_low_s", "ci_high_s", "p90_s")},
    "samples": ("latency", "samples"),
    **{f"memory_{name}_bytes": ("memory", f"{name}_bytes") for name in ("runtime", "weights", "working", "peak")},
    "device_memory_bytes": ("memory", "device_bytes"),
    "reading": ("outcome", "reading"),
    "started_at": ("outcome", "started_at"),
}
"""Where flat fields are. Of visits and passes `status` and `error` are those of their outcome."""


def changed(record: R, **fields: Any) -> R:
    """The record with other values, each under its flat name."""
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        path = PATHS.get(name, (name,))
        if name in ("status", "error", "took_s") and hasattr(record, "outcome"):
            path = ("outcome", name)
        level = nested
        for part in path[:-1]:
            level = level.setdefault(part, {})
        level[path[-1]] = _value(name, value)
    return _replaced(record, nested)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record that was read as JSON, with its fields under their flat names; a precision by its recipe."""
    fields = dict(record)
    for name, path in [*PATHS.items(), *((name, ("outcome", name)) for name in ("status", "error"))]:
        value: Any = record
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None or name not in fields:
            fields[name] = value
    return {**fields, "precision": fields["precision"]["recipe"]}


def _replaced(record: Any, fields: Mapping[str, Any]) -> Any:
    parts = {}
    for name, value in fields.items():
        inner = getattr(record, name)
        parts[name] = _replaced(inner, value) if isinstance(value, dict) and isinstance(inner, Record) else value
    return replace(record, **parts)


def _value(name: str, value: Any) -> Any:
    if name == "precision" and isinstance(value, str):
        return Precision.parse(value)
    if name == "weights" and isinstance(value, str):
        return {"random": RANDOM, "pretrained": PRETRAINED, "file": FILE}[value]
    if name == "provider_options":
        return tuple(sorted(value.items()))
    return value


def key(
    model: str = "bert-base",
    precision: str = "fp32",
    *,
    tokens: int | None = 128,
    phase: Any = "prefill",
    past_tokens: int = 0,
    weights: WeightsSource = RANDOM,
    machine_id: str = "m",
) -> PointKey:
    """On two threads of the CPU provider, one sequence."""
    return PointKey(
        subject=Subject(model=model, precision=Precision.parse(precision), weights=weights, digest="a"),
        load=Load(phase=phase, tokens=tokens, past_tokens=past_tokens),
        place=Place(machine_id=machine_id, provider="cpu", threads=2),
    )


def facts(params: int = 109_482_240, **fields: Any) -> Facts:
    return Facts(params=params, **{"family": "bert", **fields})


def latency(seconds: float, spread: float = 0.0) -> LatencySummary:
    """A median whose interval is `spread` (relative) up and down."""
    return LatencySummary(
        median_s=seconds,
        ci_low_s=seconds * (1 - spread),
        ci_high_s=seconds * (1 + spread),
        best_s=seconds,
        p90_s=seconds,
        samples=30,
        rounds_s=(seconds,) * 3,
    )


MB = 1_000_000
MEMORY = MemorySummary(
    runtime_bytes=60 * MB, weights_bytes=400 * MB, working_bytes=140 * MB, peak_bytes=600 * MB, device_bytes=None
)
