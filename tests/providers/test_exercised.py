"""The reports of `make hardware` that are kept: each can be read, is small, and names what it ran on."""

from pathlib import Path

import pytest
from hardware import checks
from hardware.models import precisions

from edgeprof import devices
from edgeprof.providers.exercised import FOLDER, exercised_on, reports
from edgeprof.providers.table import PROVIDERS, find
from edgeprof.schema import HardwareReport

FILES = sorted(FOLDER.glob("*.json"))


def test_what_is_emulated_here_is_kept() -> None:
    assert {report.device.provider for report in reports()} >= {"cpu", "webgpu", "openvino-cpu", "qnn"}
    assert (Path(__file__).parents[1] / "data" / "hardware").resolve() == FOLDER.resolve()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_report_can_be_mailed(file: Path) -> None:
    assert file.stat().st_size < 100_000
    assert file.stem.startswith(tuple(row.name for row in PROVIDERS))


@pytest.mark.parametrize("report", reports(), ids=lambda report: report.device.provider)
def test_a_report_says_what_held(report: HardwareReport) -> None:
    row = find(report.device.provider)
    assert report.device.status == "ready"
    assert report.packages["edgeprof"]
    assert [one for one in report.failures if not one.expected] == []
    assert {one.subject.precision.recipe for one in report.points} <= set(precisions(row))
    assert bool(report.problems) == ("with problems" in exercised_on(row.name))


def test_points_that_are_missing_or_failed_are_problems() -> None:
    (report,) = (one for one in reports() if one.device.provider == "cpu")
    row = find("cpu")
    assert list(checks.of_points(report.points, row, ["fp32"])) == list(report.problems) == []
    encoder = [one for one in report.points if one.facts.family == "bert"]
    assert list(checks.of_points(encoder, row, ["fp32"])) == [
        "gpt2 fp32, decode: no point.",
        "gpt2 fp32, prefill: no point.",
        "vit fp32, prefill: no point.",
    ]
    elsewhere = list(checks.of_points(encoder[:1], find("cuda"), []))  # without a placement, nothing ran there
    assert elsewhere == [f"{encoder[0].key.label}: no node ran on cuda."]


def test_devices_say_what_they_were_exercised_on() -> None:
    known = {device.provider: device.exercised for device in devices()}
    assert known == {row.name: exercised_on(row.name) for row in PROVIDERS}
    assert known["cpu"]
