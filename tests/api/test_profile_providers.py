"""One run on three providers: the CPU, a GPU that SwiftShader stands for, and Qualcomm's NPU, which is emulated.

On each: an encoder, a decoder and an image classifier, prefill and decode. QNN takes static graphs, WebGPU dynamic
ones, and both lack Attention, which is written out for them.
"""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import environments
import pytest

from edgeprof import Run, load_run, profile
from edgeprof.api.static_export import fix
from edgeprof.errors import UsageError
from edgeprof.process import silent
from edgeprof.providers.table import here
from edgeprof.schema import Case, Measurement, Point
from edgeprof.store import load_artifact

pytestmark = [
    pytest.mark.skipif(not environments.SWIFTSHADER, reason="no SwiftShader: make test finds or fetches it"),
    pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="QNN's emulator is for x86"),
]

PROVIDERS = ("cpu", "webgpu", "qnn")
QUICK: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 1, "min_time_s": 0.0, "threads": 1}


@pytest.fixture(scope="module")
def environment() -> Iterable[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environments.SWIFTSHADER.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def run(environment: None, portable_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Eight tokens; of images, the largest one with so many patches."""
    out = tmp_path_factory.mktemp("run")
    return profile(seq=[8], precision=["fp32"], ep=PROVIDERS, models=portable_models, out=out, name="three", **QUICK)


def of(run: Run, provider: str) -> dict[tuple[str, str], tuple[Point, Measurement]]:
    """By family and phase."""
    points = {(point.facts.family, point.load.phase): point for point in run.points if point.place.provider == provider}
    visits = {(one.facts.family, one.load.phase): one for one in run.measurements if one.place.provider == provider}
    return {key: (points[key], visits[key]) for key in points}


def test_every_model_runs_on_every_provider(run: Run) -> None:
    assert run.failed == []
    keys = {("bert", "prefill"), ("gpt2", "prefill"), ("gpt2", "decode"), ("vit", "prefill")}
    assert [set(of(run, provider)) for provider in PROVIDERS] == [keys] * 3
    assert len(run.points) == 12


def test_the_cpu_provider_has_no_receipt(run: Run) -> None:
    for point, visit in of(run, "cpu").values():
        assert (
            point.receipt.share,
            point.receipt.agrees,
            point.place.emulated,
            point.receipt.static,
        ) == (None, None, False, False)
        assert (visit.receipt.placement, visit.receipt.agreement) == (None, None)
        assert point.facts.memory_predicted_bytes is not None


@pytest.mark.parametrize("provider", ["webgpu", "qnn"])
def test_all_that_multiplies_is_on_the_device_and_the_result_is_the_cpus(run: Run, provider: str) -> None:
    for (family, _), (point, visit) in of(run, provider).items():
        assert (point.receipt.placement.macs_share, point.receipt.agrees, point.place.emulated) == (1.0, True, True), (
            family
        )
        assert visit.receipt.placement
        assert visit.receipt.placement.placed[0].provider == provider
        assert visit.receipt.placement.disagreement == ""
        assert visit.receipt.placement.written_out == {"Attention": 12 if family == "vit" else 2}
        assert visit.outcome.reading
        assert visit.outcome.reading.first_run_s > 0
        assert visit.facts.memory_predicted_bytes is None  # which is for the CPU provider
        assert point.memory.device_bytes is None  # not reported


def test_webgpu_takes_dynamic_graphs_and_copies_to_the_cpu_and_back(run: Run) -> None:
    for (family, _), (point, visit) in of(run, "webgpu").items():
        assert visit.receipt.placement
        assert not point.receipt.static
        assert {left.operator for left in visit.receipt.placement.left} <= {
            "Shape",
            "Slice",
            "Squeeze",
            "Concat",
            "Gather",
        }
        assert all(left.reason for left in visit.receipt.placement.left), family
        if visit.receipt.placement.left:
            assert visit.receipt.placement.copies > 0
        assert (point.receipt.max_rel_error or 0) < 1e-5  # it computes in fp32


def test_qnn_takes_static_graphs_as_one_part(run: Run) -> None:
    for point, visit in of(run, "qnn").values():
        assert visit.receipt.placement
        assert (
            point.receipt.static,
            point.receipt.placement.nodes_share,
            point.receipt.placement.placed[0].partitions,
            visit.receipt.placement.copies,
        ) == (True, 1.0, 1, 0)
        assert 1e-5 < (point.receipt.max_rel_error or 0) < 0.02  # it computes in fp16


def test_qnn_takes_static_graphs_from_their_files(environment: None, portable_models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(portable_models / "gpt2-small-portable/fp32", tmp_path / "fp32"))
    fix(load_artifact(folder), [Case(batch=1, tokens=8), Case(batch=1, tokens=1, past_tokens=8)], False, silent)
    files = [str(folder / name) for name in ("prefill-1x8.onnx", "decode-1x8.onnx")]
    result = profile(files, ep=["qnn"], out=tmp_path, **QUICK)
    assert [(point.subject.model, point.load.phase, point.load.length) for point in result.points] == [
        ("gpt2-small-portable-decode-1x8", "decode", 8),
        ("gpt2-small-portable-prefill-1x8", "prefill", 8),
    ]
    for point in result.points:
        assert (
            point.status,
            point.receipt.placement.macs_share,
            point.receipt.placement.placed[0].partitions,
            point.receipt.agrees,
        ) == (
            "ok",
            1.0,
            1,
            True,
        )


def test_what_the_table_holds_is_what_was_measured(run: Run) -> None:
    with (Path(run.folder) / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["provider"] for row in rows] == [point.place.provider for point in run.points]
    qnn = next(row for row in rows if (row["provider"], row["family"]) == ("qnn", "bert"))
    assert (qnn["emulated"], qnn["static"], qnn["macs_share"], qnn["agrees"]) == ("True", "True", "1.0", "True")


def test_a_run_is_resumed_without_a_new_placement(run: Run, portable_models: Path) -> None:
    message: list[str] = []
    folder = Path(run.folder)
    again = profile(
        seq=[8],
        precision=["fp32"],
        ep=PROVIDERS,
        models=portable_models,
        out=folder.parent,
        name=folder.name,
        require_placement=1.0,
        progress=lambda doing, share: message.append(doing),
        **QUICK,
    )
    assert [doing for doing in message if "placing" in doing or "round" in doing] == []
    assert again.measurements == load_run(folder).measurements == run.measurements


def test_a_precision_that_a_provider_does_not_take_is_refused(
    environment: None, portable_models: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"qnn does not accept int8; .*Run: edgeprof export .* --precision a16w8"):
        profile(seq=[8], precision=["int8"], ep=["cpu", "qnn"], models=portable_models, out=tmp_path, **QUICK)
    with pytest.raises(UsageError, match="does not compile ahead of time"):
        profile(seq=[8], compile=True, models=portable_models, out=tmp_path, **QUICK)
    assert list(tmp_path.iterdir()) == []
