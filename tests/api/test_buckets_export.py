"""Buckets: where costs come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from builders import operator_runs, records

from edgeprof import choose_buckets, store
from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.families import family_of, find_variant
from edgeprof.schema import Artifact, Case, Measurement, Outcome, encode_pretty

REQUESTS = [10] * 5 + [20] * 3 + [40] * 2


def write_run(folder: Path, seconds: dict[int, float], **fields: Any) -> None:
    """One visit of bert-tiny at each length."""
    store.write_atomic(folder / store.MACHINE_FILE, encode_pretty(operator_runs.MACHINE))
    for tokens, median_s in seconds.items():
        outcome = Outcome(status="ok", reading=operator_runs.reading(median_s), started_at="2026-03-01T12:00:00Z")
        plain = Measurement(
            key=records.key("bert-tiny", tokens=tokens),
            round=0,
            facts=records.facts(params=4_385_920),
            settings_key="s",
            outcome=outcome,
        )
        store.append_measurement(folder, records.changed(plain, **fields))


def test_latencies_of_a_run_decide(models: Path, tmp_path: Path) -> None:
    """Measured at 10 and 50: 1 ms a token. 20 and 40 cost 8 x 20 + 2 x 40 = 240 ms, own lengths 190, one length 400."""
    write_run(tmp_path / "older", {10: 9.0, 50: 9.0})
    write_run(tmp_path / "newer", {10: 0.010, 50: 0.050})
    result = choose_buckets("bert-tiny:fp32", REQUESTS, count=2, export=False, models=models, out=tmp_path)
    assert [(one.length, one.requests) for one in result.buckets] == [(20, 8), (40, 2)]
    assert (result.unit, result.requests) == ("s", 10)
    assert [result.mean_cost, result.mean_cost_own, result.mean_cost_single] == pytest.approx([0.024, 0.019, 0.040])
    assert result.waste == pytest.approx(24 / 19 - 1) and result.single_ratio == pytest.approx(40 / 24)
    assert result.basis == "Latencies of run 'newer' on cpu, 2 threads, interpolated between 10, 50 tokens."
    assert result.static == ()
    named = choose_buckets("bert-tiny:fp32", REQUESTS, run="older", export=False, models=models, out=tmp_path)
    assert [one.length for one in named.buckets] == [40]  # every length takes as long: one graph is enough


def test_without_a_run_macs_decide(models: Path, tmp_path: Path) -> None:
    variant = find_variant("bert-tiny")
    macs = {n: family_of(variant).macs(variant, Case(batch=1, tokens=n)) for n in (10, 20, 40)}
    result = choose_buckets("bert-tiny:int8", REQUESTS, count=3, export=False, models=models, out=tmp_path)
    assert result.unit == "MACs" and result.basis.startswith("No run has latencies of this model")
    assert {one.length: one.cost for one in result.buckets} == macs
    assert result.mean_cost == result.mean_cost_own == pytest.approx((5 * macs[10] + 3 * macs[20] + 2 * macs[40]) / 10)
    file = models / "bert-tiny" / "fp32" / "model.onnx"
    counted = choose_buckets(str(file), REQUESTS, count=3, models=models, out=tmp_path)
    assert {one.length: one.cost for one in counted.buckets} == macs  # counted on the graph
    assert counted.notes[-1] == "Static graphs are written only for models that edgeprof exported."


def test_emulated_times_are_not_used(models: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "npu", {10: 0.01, 50: 0.05}, provider="qnn", emulated=True)
    result = choose_buckets("bert-tiny:fp32", REQUESTS, export=False, models=models, out=tmp_path)
    assert result.unit == "MACs"
    with pytest.raises(RunError, match="by an emulator, whose times are not meaningful"):
        choose_buckets("bert-tiny:fp32", REQUESTS, run="npu", export=False, models=models, out=tmp_path)


def test_one_of_several_providers_has_to_be_chosen(models: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "two", {10: 0.01, 50: 0.05})
    write_run(tmp_path / "two", {10: 0.02, 50: 0.02}, provider="webgpu")
    with pytest.raises(UsageError, match=r"Run 'two' has bert-tiny on cpu, webgpu\. Choose: --ep cpu"):
        choose_buckets("bert-tiny:fp32", REQUESTS, export=False, models=models, out=tmp_path)
    result = choose_buckets("bert-tiny:fp32", REQUESTS, ep="webgpu", export=False, models=models, out=tmp_path)
    assert [one.length for one in result.buckets] == [40]


def test_requests_beyond_what_was_measured(models: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "short", {16: 0.01, 32: 0.05})
    with pytest.raises(UsageError, match=r"covers up to 32 tokens; requests have up to 40\. .* --seq 10,20,40 --name"):
        choose_buckets("bert-tiny:fp32", REQUESTS, export=False, models=models, out=tmp_path)
    result = choose_buckets("bert-tiny:fp32", [10, 30], export=False, models=models, out=tmp_path)
    assert result.notes == ("No run below 16 tokens was measured: shorter requests are assumed to take as long.",)


def test_invalid_requests_are_refused(artifacts: dict[tuple[str, str], Artifact], models: Path, tmp_path: Path) -> None:
    def choose(target: str, lengths: list[int], **options: Any) -> None:
        choose_buckets(target, lengths, export=False, models=models, out=tmp_path, **options)

    with pytest.raises(UsageError, match="vit-tiny has no variable token length"):
        choose("vit-tiny:fp32", [64])
    with pytest.raises(UsageError, match="bert-tiny takes at most 512 tokens, but 600 tokens are requested"):
        choose("bert-tiny:fp32", [10, 600])
    with pytest.raises(UsageError, match="bert-tiny takes no KV cache"):
        choose("bert-tiny:fp32", [10], phase="decode")
    with pytest.raises(UsageError, match=r"exported several times\. Name one: bert-tiny:fp32, bert-tiny:int8"):
        choose("bert-tiny", [10])
    with pytest.raises(UsageError, match="at least 1"):
        choose("bert-tiny:fp32", [0])
    with pytest.raises(UnknownName, match="There is no run called 'mine'"):
        choose("bert-tiny:fp32", [10], run="mine")
