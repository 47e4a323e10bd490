"""The ceilings of a probe, computed by hand."""

import math

import msgspec
import pytest
from builders import probes
from builders.operator_runs import operators, profiled
from scipy.stats import t

from edgeprof.analysis.roofline import ceilings, roofline, sentence
from edgeprof.errors import RunError
from edgeprof.schema import Machine, ModuleTime, Probe, Roofline, Work, WorkTime

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


# --- modules against ceilings ------------------------------------------------------------------------------


def module(
    name: str, seconds: float, macs: int = 0, moved: int = 0, nodes: int = 1, precision: str = "fp32"
) -> ModuleTime:
    return ModuleTime(module=name, nodes=nodes, time_s=seconds, macs=macs, weights_bytes=moved, precision=precision)


MODULES = (
    module("MLP", 4e-3, macs=10**8),  # 1 ms at 100 GMAC/s
    module("head", 4e-4, macs=3 * 10**7, precision="int8", moved=4 * 10**6),  # 0.1 ms at 300 GMAC/s, and at 40 GB/s
    module("norms and residuals", 1e-3, moved=2 * 10**7, nodes=100),  # 0.5 ms at 40 GB/s, 0.1 ms for 100 nodes
    module("other", 2e-3, nodes=1000),  # 1 ms
)


def against(modules: tuple[ModuleTime, ...], latency_s: float) -> Roofline:
    reading = operators({"MatMul": (4, latency_s)})
    return roofline(msgspec.structs.replace(profiled(reading), modules=modules), latency_s, ceilings(SEEN))


def test_each_module_is_bound_by_what_takes_longest() -> None:
    roofs = against(MODULES, 8e-3).modules
    assert [roof.bound for roof in roofs] == ["compute", "compute", "memory", "overhead"]
    assert [roof.least_s for roof in roofs] == pytest.approx([1e-3, 1e-4, 5e-4, 1e-3])
    assert [roof.share for roof in roofs] == pytest.approx([0.25, 0.25, 0.5, 0.5])


def test_a_point_is_bound_by_most_of_its_least_time() -> None:
    one = against(MODULES, 8e-3)
    assert one.bound == "compute"  # 1.1 ms, against 0.5 ms of memory and 1.002 ms of overhead with that of the run
    assert one.share == pytest.approx(2.602e-3 / 8e-3)
    assert against(MODULES[2:3], 1e-3).bound == "memory"


def test_a_sentence_names_where_most_is_to_be_gained() -> None:
    told = sentence(against(MODULES, 8e-3))
    assert "compute-bound, at 33 % of its ceilings. Most is to be gained in MLP: 54 % of the time" in told
    assert told.endswith("compute-bound, at 25 % of its ceiling.")


def test_a_precision_that_was_not_probed_is_held_against_fp32() -> None:
    (roof,) = against((module("MLP", 1e-3, macs=10**8, precision="int2"),), 1e-3).modules
    assert roof.share == pytest.approx(1.0)
