"""Several providers in one run: sentences about placement, and points that must not be compared."""

from typing import Any

import pytest
from factories import MB, point, reading, visit

from edgeprof.analysis import growth
from edgeprof.analysis import placement as placements
from edgeprof.analysis.captions import sentences
from edgeprof.analysis.findings import comparisons, measured, provider_comparisons, reference_points
from edgeprof.analysis.statistics import points as points_of
from edgeprof.analysis.why import sides, why
from edgeprof.schema import (
    Agreement,
    LeftOperator,
    Machine,
    Measurement,
    OperatorPass,
    OperatorReading,
    OperatorTime,
    Outcome,
    Placement,
    Point,
    ProviderShare,
)


def line(*lengths_and_seconds: tuple[int, float], **fields: Any) -> list[Point]:
    return [point(seconds, tokens=tokens, **fields) for tokens, seconds in lengths_and_seconds]


def placement(requested: str, macs: int | None, left: int | None, nodes: int = 6, left_nodes: int = 2) -> Placement:
    """Two of eight nodes, Attention, went to the CPU."""
    return Placement(
        placed=(
            ProviderShare(provider=requested, nodes=nodes, macs=macs, partitions=3),
            ProviderShare(provider="cpu", nodes=left_nodes, macs=left, partitions=2),
        ),
        left=(LeftOperator(operator="Attention", nodes=left_nodes, macs=left),),
    )


def agreement(off: float) -> Agreement:
    return Agreement(max_abs_error=9.0, max_rel_error=off, cosine=0.4, tolerance=0.1)


GPU = {"provider": "webgpu", "placement": placement("webgpu", 1000, 0, 8, 0), "agreement": agreement(1e-6)}
PARTLY = {**GPU, "placement": placement("webgpu", 831, 169)}
NODES = {**GPU, "placement": placement("webgpu", None, None)}  # 75 % of them; MACs are not known
HALF = {**GPU, "placement": placement("webgpu", 500, 500)}
WRONG = {**GPU, "agreement": agreement(1.2)}
EMULATED = {**GPU, "provider": "qnn", "emulated": True, "placement": placement("qnn", 1000, 0, 8, 0)}

MACHINE = Machine(
    machine_id="m",
    cpu="c",
    cpu_features=(),
    architecture="x86_64",
    cores_allowed=2,
    governor="performance",
    memory_bytes=1,
    memory_limit_bytes=None,
    os="",
    versions={},
)


# --- what must not be compared -------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [EMULATED, WRONG], ids=["emulated", "wrong"])
def test_times_that_mean_nothing_are_in_no_comparison(fields: dict[str, Any]) -> None:
    """Made a thousand times faster than anything else: nothing may name them."""
    real = [*line((128, 0.2), (512, 0.8)), *line((128, 0.1), (512, 0.5), precision="int8")]
    mad = [*line((128, 2e-4), (512, 8e-4), **fields), *line((128, 1e-6), (512, 1e-6), precision="int8", **fields)]
    mad += line((512, 1e-6), variant="bert-large", params=300 * MB, **fields)
    alone, both = sentences(real), sentences([*real, *mad])
    assert both.captions == alone.captions
    assert both.reference == alone.reference
    assert both.headlines[-len(alone.headlines) :] == alone.headlines  # the headlines before explain why
    assert measured([*real, *mad]) == real
    assert comparisons(mad) == provider_comparisons([*real, *mad]) == []
    assert sides(mad) == []


def test_a_claim_takes_only_points_that_one_real_provider_ran_right() -> None:
    records = [visit(0, reading(0.1 * n), tokens=n, provider="webgpu") for n in (16, 32, 64)]
    assert growth.measured_lengths(records)["bert-base"] == (16, 32, 64)
    for fields in (
        {"emulated": True},
        {"agreement": agreement(1.2)},
        {"placement": placement("webgpu", 3, 1)},
        {"placement": placement("webgpu", None, None)},
    ):
        unfit = [visit(0, reading(0.1 * n), tokens=n, provider="webgpu", **fields) for n in (16, 32, 64)]
        assert growth.measured_lengths(unfit)["bert-base"] == ()
    for fields in (EMULATED, WRONG, PARTLY, NODES):
        assert growth.measured_lengths(line((16, 0.1), (32, 0.2), **fields))["bert-base"] == ()
    assert growth.measured_lengths(line((16, 0.1), (32, 0.2), **GPU))["bert-base"] == (16, 32)


def test_visits_of_an_emulated_and_a_real_device_are_two_points() -> None:
    both = points_of([visit(0, reading(0.1), provider="qnn"), visit(0, reading(9.0), provider="qnn", emulated=True)])
    assert [(one.place.emulated, one.latency.median_s) for one in both] == [(False, 0.1), (True, 9.0)]


# --- provider against provider ---------------------------------------------------------------------------


def test_precisions_are_compared_on_each_provider_by_itself() -> None:
    """CPU: 200 ms against 100; webgpu: 50 against 100. Precisions are not compared across the two."""
    points = [
        *line((64, 0.2), (128, 0.2)),
        *line((64, 0.1), (128, 0.1), precision="fp16"),
        *line((64, 0.05), (128, 0.05), **GPU),
        *line((64, 0.1), (128, 0.1), precision="fp16", **GPU),
    ]
    summary = sentences(points).headlines
    assert (
        "Prefill on cpu in fp16 against fp32: faster at all 2 points (median 2x, up to 2x: bert-base at 64 tokens). "
        "Prefill on webgpu in fp16 against fp32: slower at all 2 points (down to 0.5x: bert-base at 64 tokens)."
    ) in summary
    assert (
        "Prefill of fp32 on webgpu against cpu: faster at all 2 points (median 4x, up to 4x: bert-base at 64 tokens). "
        "Prefill of fp16 on webgpu against cpu: without a clear difference at all 2 points."
    ) in summary


def test_one_point_on_two_providers_has_its_interval() -> None:
    # 198..202 ms against 99..101 ms: 198 / 101 = 1.96, 202 / 99 = 2.04.
    summary = sentences([point(0.2), point(0.1, **GPU)]).headlines
    assert (
        "Prefill of bert-base at 128 tokens is 2x as fast on webgpu as on cpu (95 % interval 1.96 to 2.04)."
    ) in summary
    summary = sentences([point(0.1), point(0.1, **GPU)]).headlines
    assert (
        "No clear difference between webgpu and cpu in the prefill of bert-base at 128 tokens: "
        "the interval of their ratio includes 1."
    ) in summary


def test_no_winner_without_its_share() -> None:
    points = [*line((64, 0.2), (128, 0.4)), *line((64, 0.05), (128, 0.1), **PARTLY)]
    summary = sentences(points)
    assert summary.headlines[0] == (
        "webgpu ran only a part of all of its 2 points, at least 83 % of MACs "
        "(bert-base fp32, prefill at 64 tokens); the CPU ran the rest."
    )
    assert (
        "Prefill on webgpu against cpu: faster at all 2 points (median 4x, up to 4x: bert-base at 64 tokens, "
        "83 % of MACs on webgpu). At all 2 points webgpu ran only a part, the CPU the rest."
    ) in summary.headlines
    assert summary.captions["prefill-throughput"].startswith(
        "The highest throughput is 1,280 tokens/s (bert-base on webgpu (83 % of MACs) at 64 tokens"
    )
    fast = [sentence for sentence in (*summary.headlines, *summary.captions.values()) if "on webgpu" in sentence]
    assert all("83 % of MACs" in sentence for sentence in fast)


def test_both_shares_of_a_pair_are_named_where_they_differ() -> None:
    points = [point(0.2, **PARTLY), point(0.1, precision="fp16", **HALF)]
    assert (
        "Prefill of bert-base at 128 tokens, 50 % of MACs in fp16 and 83 % of MACs in fp32 on webgpu is 2x as fast in "
        "fp16 as in fp32 (95 % interval 1.96 to 2.04)."
    ) in sentences(points).headlines


def test_the_least_share_is_the_least_whatever_it_is_of() -> None:
    nodes = point(0.1, variant="vit-base", **{**GPU, "placement": placement("webgpu", None, None, 97, 3)})
    assert (
        sentences([nodes, point(0.1, **PARTLY)])
        .headlines[0]
        .startswith("webgpu ran only a part of all of its 2 points, at least 83 % of MACs (bert-base fp32")
    )


def test_why_names_the_provider_and_what_it_ran() -> None:
    points = [
        point(0.2, **PARTLY),
        point(0.1, precision="fp16", **{**GPU, "placement": placement("webgpu", None, None, 4, 4)}),
    ]
    ((a, b),) = sides(points)
    (result,) = why(a, b, points, [], MACHINE)
    assert (result.place.provider, result.machine) == ("webgpu", ())
    assert result.verdicts == (
        "Prefill on webgpu: fp16 is faster than fp32 at 128 tokens (2x as fast). webgpu ran only a part, at least "
        "83 % of MACs of fp32 and 50 % of nodes of fp16; the CPU ran the rest.",
    )


# --- warnings --------------------------------------------------------------------------------------------


def test_headlines_before_all_times() -> None:
    points = [
        point(0.1),
        point(2.0, **EMULATED),
        point(3.0, precision="a8w8", **{**EMULATED, "agreement": agreement(1.2)}),
        point(None, precision="bf16", provider="qnn", emulated=True, status="unsupported", error="no bf16"),
    ]
    assert sentences(points).headlines[:3] == (
        "qnn is emulated here: the path works, but its times are not meaningful and enter no comparison.",
        "qnn does not support 1 of its 3 points: bert-base bf16. They have no times.",
        "bert-base a8w8, prefill at 128 tokens on qnn: result differs from the CPU by 1.2: outside tolerance; "
        "such times enter no comparison.",
    )


def test_a_share_in_words() -> None:
    assert point(0.1).receipt.share_text == ""
    assert point(0.1, **GPU).receipt.share_text == ""
    assert point(0.1, **PARTLY).receipt.share_text == "83 % of MACs"
    assert point(0.1, **NODES).receipt.share_text == "75 % of nodes"
    assert point(0.1, **{**GPU, "placement": placement("webgpu", 9999, 1)}).receipt.share_text == "99.9 % of MACs"


def test_points_get_the_newest_placement_of_their_own() -> None:
    def seen(number: int, where: Placement | None, **fields: Any) -> Measurement:
        return visit(number, reading(0.1), placement=where, **{"provider": "webgpu", **fields})

    old, new = placement("webgpu", 1, 1), placement("webgpu", 831, 169)
    records = [
        visit(0, reading(0.1)),
        seen(0, old),
        seen(1, new),
        seen(2, None),
        seen(0, old, tokens=64),
    ]
    result = placements.with_placement(points_of(records))
    assert [(one.load.tokens, one.placement) for one in result] == [(64, old), (128, new)]
    assert new.macs_share == pytest.approx(0.831)
    assert new.nodes_share == 0.75


def test_the_caption_names_the_least_share_and_what_was_left() -> None:
    whole, part, npu = point(0.1, **GPU), point(0.1, tokens=64, **PARTLY), point(0.1, **EMULATED)
    lost = point(None, provider="qnn", status="unsupported", placement=placement("qnn", 0, 9, 0, 8))
    assert placements.caption([whole, part, npu, lost]) == (
        "webgpu ran all multiplications of 1 of its 2 points, and at least 83 % of MACs "
        "(bert-base fp32, prefill at 64 tokens); left to the CPU: Attention. "
        "qnn ran all multiplications of its only point."
    )
    assert placements.caption([]) == ""


def test_reference_points_keep_providers_apart() -> None:
    points = [point(0.1), point(0.05, **GPU)]
    assert len(reference_points(points)) == 2


def test_operators_that_were_only_handed_over_explain_nothing() -> None:
    times = (OperatorTime(operator="MatMul", nodes=8, time_s=1e-6),)
    seen = OperatorReading(operators=times, matrices=(), profiled_latencies_s=(0.1,), latencies_s=(0.1,))
    outcome = Outcome(status="ok", reading=seen, started_at="2026-03-01T12:00:00Z")
    points = [point(0.2, **GPU), point(0.1, precision="fp16", **GPU)]
    ((a, b),) = sides(points)
    for dispatch_only, lengths in ((False, 1), (True, 0)):
        passes = [
            OperatorPass(key=one.key, dispatch_only=dispatch_only, settings_key="s", outcome=outcome) for one in points
        ]
        (result,) = why(a, b, points, passes, MACHINE)
        assert len(result.places[0].classes) == lengths
