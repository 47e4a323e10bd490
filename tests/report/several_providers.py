"""The fixed record set on three providers: the CPU, a GPU that ran most of each model, an emulated NPU.

webgpu   bert whole, of gpt2 the attention on the CPU: 75 of 100 MACs, 60 of 64 nodes; three times as fast
qnn      emulated, fixed shapes; int8 is off by 1.2; gpt2 in fp32 is unsupported; MACs of vit are unknown
"""

from typing import Any

import msgspec
import runs
from builders.records import changed

from edgeprof import store
from edgeprof.analysis import captions, placement, statistics
from edgeprof.schema import (
    Agreement,
    Findings,
    LeftOperator,
    Measurement,
    Placement,
    Point,
    ProviderShare,
    Reading,
    StoppingRule,
)

MB = 1_000_000
REASON = "the mask has a dynamic dimension"


def records(visits: list[Measurement] | None = None) -> list[Measurement]:
    plain = store.load_measurements(runs.RUN) if visits is None else visits
    usual = [_changed(visit, stopping=StoppingRule()) for visit in plain]
    return [*usual, *map(webgpu, usual), *map(qnn, usual)]


def webgpu(visit: Measurement) -> Measurement:
    whole = visit.facts.family != "gpt2"
    left = () if whole else (LeftOperator(operator="Attention", nodes=4, macs=25, reason=REASON),)
    return _changed(
        visit,
        provider="webgpu",
        device="Example GPU 7",
        memory_predicted_bytes=None,
        reading=_slower(visit.outcome.reading, 1 / 3, first_run_s=2.5, device_memory_bytes=700 * MB),
        placement=Placement(
            placed=placed("webgpu", (64, 100) if whole else (60, 75), (0, 0) if whole else (4, 25)),
            left=left,
            copies=0 if whole else 8,
            written_out={"Gelu": 2},
        ),
        agreement=_agreement(1e-6),
    )


def qnn(visit: Measurement) -> Measurement:
    fields: dict[str, Any] = {
        "provider": "qnn",
        "device": "HTP emulator",
        "emulated": True,
        "memory_predicted_bytes": None,
        "static": True,
        "provider_options": {"backend_type": "htp", "soc_model": "60"},
    }
    if visit.facts.family == "gpt2" and visit.subject.precision.recipe == "fp32":
        nothing = Placement(
            placed=placed("qnn", (0, 0), (64, 100)),
            left=(LeftOperator(operator="MatMul", nodes=48, macs=75, reason="fp32 weights"),),
        )
        reason = "qnn took none of the 64 nodes: fp32 weights"
        return _changed(
            visit, **fields, status="unsupported", error=reason, reading=None, placement=nothing, agreement=None
        )
    macs: tuple[int | None, int | None] = (None, None) if visit.facts.family == "vit" else (83, 17)
    return _changed(
        visit,
        **fields,
        reading=_slower(visit.outcome.reading, 400, first_run_s=31.0),
        placement=Placement(
            placed=placed("qnn", (62, macs[0]), (2, macs[1])),
            left=(LeftOperator(operator="Attention", nodes=2, macs=macs[1]),),
            copies=4,
            written_out={"Attention": 10},
        ),
        agreement=_agreement(1.2 if visit.subject.precision.recipe == "int8" else 0.007),
    )


def analyzed(visits: list[Measurement] | None = None) -> tuple[list[Point], Findings, list[Point]]:
    built = records(visits)
    points = statistics.points(built)
    elsewhere = placement.with_placement(points)
    return points, captions.sentences(points, placed=elsewhere), elsewhere


def placed(requested: str, there: tuple[int, int | None], here: tuple[int, int | None]) -> tuple[ProviderShare, ...]:
    on_cpu = ProviderShare(provider="cpu", nodes=here[0], macs=here[1], partitions=2 if here[0] else 0)
    return (ProviderShare(provider=requested, nodes=there[0], macs=there[1], partitions=3 if here[0] else 1), on_cpu)


def _agreement(off: float) -> Agreement:
    return Agreement(max_abs_error=3 * off, max_rel_error=off, cosine=0.9, tolerance=0.1, output="logits")


def _slower(reading: Reading | None, times: float, **fields: Any) -> Reading | None:
    if reading is None:
        return None
    latencies = tuple(times * latency_s for latency_s in reading.latencies_s)
    return msgspec.structs.replace(reading, latencies_s=latencies, **fields)


def _changed(visit: Measurement, **fields: Any) -> Measurement:
    return changed(visit, **fields)
