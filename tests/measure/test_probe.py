"""The probe of a device, at small sizes: every graph runs, amounts are those that a count of its graph gives."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import edgeprof
from edgeprof import counting, store
from edgeprof.api.kept_probe import ceilings, kept
from edgeprof.cli.probe import probe as command
from edgeprof.errors import UsageError
from edgeprof.measure import machine, probe, probe_graphs
from edgeprof.schema import Probe, StoppingRule, TaskReading, Work, decode

SMALL = {
    "ROWS": (1, 3),
    "WIDTHS": ((32, 64),),
    "VECTOR": (1024, 8192),
    "STREAMED": tuple((precision, 32, (2, 4)) for precision in ("fp32", "int8", "int4")),
    "HALF": ((32, 32),),
    "TOKENS": (5,),
    "PAST_TOKENS": (7,),
    "WIDTH": 32,
    "LINES": (2,),
    "COPIES": (2**6, 2**23),
    "CHAINS": (1, 4),
    "MIXED": (2, 32),
    "ROUNDS": 1,
    "STOPPING": StoppingRule(min_runs=2, min_time_s=0.0),
}


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(probe, name, value)
        yield


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    out = tmp_path_factory.mktemp("probe") / "mine.json"
    measured = edgeprof.probe(threads=1, force=True, out=out)
    assert decode(out.read_bytes(), Probe, "mine.json") == measured
    return measured


def test_everything_runs(seen: Probe) -> None:
    assert [time.error for time in seen.times if time.error] == []
    assert len(seen.times) == sum(map(len, probe.specimens().values()))
    assert all(len(time.best_s) == len(time.medians_s) == 1 for time in seen.times)
    assert len(seen.canaries) == 2 * len(probe.specimens())
    assert [session.precision for session in seen.memory] == ["", "fp32", "int8", "int4"]
    assert seen.imports_bytes > 10**7
    assert 1 << 16 <= seen.window_bytes <= probe.WRITES * probe.WRITE_BYTES


def test_what_a_system_maps_is_read_where_nothing_was_kept_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "new" / "cache"))
    assert 1 << 16 <= probe.window_bytes() <= probe.WRITES * probe.WRITE_BYTES
    assert list((tmp_path / "new" / "cache").iterdir()) == [], "it was written there, and is gone"


def test_a_cache_that_cannot_be_written_leaves_what_most_systems_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "file" / "cache"))
    assert probe.window_bytes() == 1 << 16


def test_ceilings_are_read_from_it(seen: Probe) -> None:
    found = ceilings(seen)
    assert list(found.products) == ["fp32", "int8", "int4", "fp16"]
    assert list(found.vectors) == ["fp32", "int8", "int4"]
    assert found.memory.work is not None and found.memory.work.operator in ("MatMul", "Concat")
    assert found.attention is not None


def test_it_is_kept_for_its_machine_and_threads(seen: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "measure", lambda *_: pytest.fail("measured again"))
    assert edgeprof.probe(threads=1) == seen
    assert kept(machine.describe().machine_id, 77) is None and kept("other", 1) is None
    file = next(store.cache_folder().glob("probe-*-1.json"))
    assert file.stat().st_size < 60_000
    file.write_bytes(b"{}")
    assert kept(machine.describe().machine_id, 1) is None, "damaged: to be measured again"
    store.write_atomic(file, msgspec.json.encode(seen))


def test_the_command_shows_ceilings(seen: Probe, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command(threads=1, out=tmp_path / "out.json")
    shown = capsys.readouterr().out
    for what in ("products in int4", "attention", "memory", "each node", "GFLOP/s", "GB/s", "1 thread", "out.json"):
        assert what in shown
    command(threads=1, json=True)
    assert decode(capsys.readouterr().out.encode(), Probe, "printed") == seen


def test_another_provider_is_refused() -> None:
    with pytest.raises(UsageError, match="'webgpu' cannot be probed"):
        edgeprof.probe(ep="webgpu")


def test_a_mixed_chain_has_so_many_small_nodes_after_each_product() -> None:
    nodes = [node.op_type for node in probe_graphs.build(probe_graphs.mixed(2, 8, 2).work).graph.node]
    assert nodes == ["MatMul", "Relu", "Sigmoid"] * 2


@pytest.mark.parametrize("kind", ["fp32 products", "int4 products", "fp16 products", "attention"])
def test_macs_are_those_of_the_graph(kind: str) -> None:
    for specimen in probe.specimens()[kind]:
        shapes = {value.name: value.shape for value in specimen.inputs}
        model = probe_graphs.build(specimen.work)
        assert counting.count(model, shapes).macs == specimen.work.macs, specimen.work


def test_visits_of_the_same_work_belong_together() -> None:
    one = Work(operator="Add", precision="fp32", sizes={"rows": 2})
    other = Work(operator="Add", precision="fp32", sizes={"rows": 3})
    error = TaskReading(error="it failed")
    latencies = tuple(i / 1000 for i in range(30, 10, -1))
    found = list(probe.times([(one, TaskReading(latencies_s=latencies)), (other, error), (one, error)]))
    assert [(time.work.sizes["rows"], time.best_s, time.medians_s, time.error) for time in found] == [
        (2, (0.013,), (0.0205,), ""),
        (3, (), (), "it failed"),
    ]
