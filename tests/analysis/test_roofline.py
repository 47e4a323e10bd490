"""The ceilings of a probe, computed by hand."""

import math

import msgspec
import pytest
from builders import probes
from scipy.stats import t

from edgeprof.analysis.roofline import ceilings
from edgeprof.errors import RunError
from edgeprof.schema import Machine, Probe, Work, WorkTime

SEEN: Probe = probes.probe(Machine.unrecorded("m"))


def test_peaks_are_those_of_the_fastest_product_at_its_best_level() -> None:
    found = ceilings(SEEN)
    assert {name: round(one.value) for name, one in found.products.items()} == {"fp32": 10**11, "int8": 3 * 10**11}
    assert round(found.memory.value) == 40 * 10**9
    assert round(found.vectors["fp32"].value) == 10**10 and "int8" not in found.vectors
    assert found.attention is None


def test_an_interval_is_that_of_the_levels_of_the_visits() -> None:
    logs = [math.log(level) for level in probes.FAST]
    mean = sum(logs) / 3
    half = t.ppf(0.975, 2) * math.sqrt(sum((value - mean) ** 2 for value in logs) / 2) / math.sqrt(3)
    peak = ceilings(SEEN).products["fp32"]
    assert (peak.low, peak.high) == (
        pytest.approx(1e8 / math.exp(mean + half)),
        pytest.approx(1e8 / math.exp(mean - half)),
    )


def test_overhead_is_the_line_through_chains() -> None:
    found = ceilings(SEEN)
    assert found.node.value == pytest.approx(1e-6)
    assert found.run.value == pytest.approx(2e-6)


def test_what_is_read_again_from_caches_is_not_memory() -> None:
    work = Work(operator="Add", precision="fp32", sizes={"rows": 512}, nodes=8, activation_bytes=40_000_000)
    added = WorkTime(work=work, best_s=(1e-6,), medians_s=(1e-6,))
    assert ceilings(msgspec.structs.replace(SEEN, times=(*SEEN.times, added))).memory == ceilings(SEEN).memory


def test_a_probe_that_failed_says_so() -> None:
    for missing in ("MatMul", "chain"):
        times = tuple(time for time in SEEN.times if time.work.operator != missing)
        with pytest.raises(RunError, match="edgeprof probe --force"):
            ceilings(msgspec.structs.replace(SEEN, times=times))
