"""KV caches that are real, recomputed and copied: lines whose slopes are known."""

from typing import Any

import pytest
from builders.records import changed
from factories import point
from msgspec.structs import replace

from edgeprof.analysis.cached import CacheCheck, checks, sentence
from edgeprof.analysis.laws import laws
from edgeprof.schema import Point

LENGTHS = (16, 64, 256, 512)


def prefill(per_token_s: float, **fields: Any) -> list[Point]:
    return [point(2e-3 + per_token_s * n, tokens=n, **fields) for n in LENGTHS]


def decode(per_token_s: float, *, step: int = 10_000, cached: int = 0, copied: int = 0, **fields: Any) -> list[Point]:
    """Steps of `step` MACs and `cached` more for each cached token; `copied` bytes for each."""
    points = []
    for n in LENGTHS:
        one = point(5e-3 + per_token_s * n, phase="decode", tokens=1, past_tokens=n, macs=step + cached * n, **fields)
        points.append(replace(one, facts=replace(one.facts, cache_copied_bytes=copied * n)))
    return points


def check(*lines: list[Point], bytes_per_s: float | None = None) -> CacheCheck:
    points = [each for line in lines for each in line]
    return checks(laws(points).laws, points, bytes_per_s)[0]


def test_a_cached_token_that_costs_little_is_a_real_cache() -> None:
    """1 % of the MACs of a new token, so 1 % of 5 ms is predicted; and 1 ms without a cache."""
    found = check(decode(4e-5, cached=100), prefill(1e-3))
    assert found.with_cache_s == pytest.approx(5e-5, rel=1e-3)
    assert found.recomputed_s == pytest.approx(1e-3, rel=1e-3)
    assert (found.real, found.recomputes) == (True, False)
    assert "predicted are 50 µs with a cache and 1 ms without one: the KV cache is real." in sentence(found)


def test_a_cached_token_that_costs_as_much_as_a_new_one_is_recomputed() -> None:
    found = check(decode(9.5e-4), prefill(1e-3))
    assert (found.real, found.recomputes) == (False, True)
    assert "its KV cache saves nothing" in sentence(found)


def test_a_graph_that_recomputes_is_caught_by_its_macs_too() -> None:
    """Without prefill: a step over n cached tokens has the MACs of n + 1."""
    found = check(decode(9e-4, step=10_000, cached=10_000))
    assert found.recomputed_s is None
    assert found.recomputes


def test_without_prefill_and_with_few_macs_nothing_is_claimed() -> None:
    found = check(decode(4e-5, cached=100))
    assert (found.real, found.recomputes) == (False, False)
    assert "measure prefill at four lengths too" in sentence(found)


def test_a_slope_whose_interval_holds_half_of_that_without_a_cache_shows_neither() -> None:
    wide = [changed(each, latency_ci_low_s=1e-3, latency_ci_high_s=9e-1) for each in decode(5e-4, cached=100)]
    found = check(wide, prefill(1e-3))
    assert (found.real, found.recomputes) == (False, False)
    assert "is not shown" in sentence(found)


def test_copies_are_measured_against_the_file_whose_cache_is_in_place() -> None:
    """At 512 cached tokens: 512 times 3 µs."""
    growing = decode(4e-6, cached=100, copied=1_000, variant="portable")
    found = check(growing, decode(1e-6, cached=100, variant="fused"))
    assert (found.copied_bytes, found.copy_of) == (512_000, "fused")
    assert found.copy_s == pytest.approx(512 * 3e-6, rel=1e-3)
    assert "copies 512 kB, which costs 1.54 ms: measured against fused" in sentence(found)


def test_copies_alone_are_predicted_by_the_bandwidth() -> None:
    """512 kB are read and written: 1.024 MB at 1 GB/s."""
    found = check(decode(4e-6, cached=100, copied=1_000), bytes_per_s=1e9)
    assert found.copy_s == pytest.approx(1.024e-3)
    assert "about 1.02 ms at the memory bandwidth of this run (predicted)" in sentence(found)


def test_a_decoder_beside_an_encoder_is_not_judged() -> None:
    points = decode(4e-5, source_tokens=16)
    assert checks(laws(points).laws, points) == []
