"""The roofline figure, and the section on modules of the page."""

from pathlib import Path

import msgspec
import pytest
from builders import operator_runs, probes

from edgeprof import load_run, store, write_report
from edgeprof.analysis import roofline
from edgeprof.report import roofline_figure
from edgeprof.schema import ModuleTime, OperatorPass, encode

MODULES = (
    ModuleTime(module="MLP", nodes=4, time_s=1e-3, macs=10**7, weights_bytes=4 * 10**6, activation_bytes=10**6),
    ModuleTime(module="norms and residuals", nodes=2, time_s=1e-4, activation_bytes=10**6),
)
CEILINGS = roofline.ceilings(probes.probe(operator_runs.MACHINE))


def passes() -> list[OperatorPass]:
    return [msgspec.structs.replace(one, modules=MODULES) for one in operator_runs.passes()]


def test_a_mark_is_the_speed_of_a_module_over_its_intensity() -> None:
    chart = roofline_figure.arrange(roofline.rooflines(passes(), CEILINGS), CEILINGS)
    assert chart is not None
    (panel,) = chart.panels
    assert [line.label for line in panel.lines] == ["MLP fp32", "MLP int8"], "norms compute no product"
    for line in panel.lines:
        assert [(mark.x, mark.y.middle) for mark in line.marks] == [pytest.approx((4.0, 20.0))] * 2
    assert {(guide.label, round(guide.factor), guide.power) for guide in panel.guides} == {
        ("fp32 peak, 200 GFLOP/s", 200, 0),
        ("memory, 40 GB/s", 40, 1),
    }


def test_nothing_is_drawn_without_products() -> None:
    bare = [msgspec.structs.replace(one, modules=MODULES[1:]) for one in passes()]
    assert roofline_figure.arrange(roofline.rooflines(bare, CEILINGS), CEILINGS) is None


def test_the_page_has_modules_with_a_probe_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))
    folder = operator_runs.write(tmp_path / "run")
    (folder / "operators.jsonl").unlink()
    for one in passes():
        store.append_operators(folder, one)
    page = write_report(folder)
    section = page.read_text().partition('<section id="modules">')[2].partition("</section>")[0]
    assert "Run: edgeprof probe" in section and "Reached" not in section and "<img" not in section
    place = load_run(folder).operators[0].place
    (folder / "probe.json").write_bytes(encode(probes.probe(operator_runs.MACHINE, place.threads)))
    write_report(folder)
    text = (folder / "report.md").read_text().partition("## Modules\n")[2].partition("\n## ")[0]
    assert "![Modules against the ceilings of the device](figures/roofline.png)" in text
    assert (folder / "figures" / "roofline.png").is_file()
    assert "| MLP | 4 | 1.00 | 91 % | 10.0 | 5.00 | 20.0 | 5.00 | memory | 12 % |" in text
    assert "bert-base fp32, prefill at 16 tokens: memory-bound, at " in text
