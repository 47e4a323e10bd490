"""What is common to all pages."""

from pathlib import Path

import msgspec
import pytest
from runs import RUN

from edgeprof import report, store
from edgeprof.analysis import statistics
from edgeprof.report import templates
from edgeprof.schema import Findings


def test_a_time_is_shown_as_people_read_it() -> None:
    assert templates.started("2026-03-01T12:00:00+00:00") == "2026-03-01 12:00:00 UTC"
    assert templates.started("2026-03-01T12:00:00Z") == "2026-03-01 12:00:00 UTC"
    assert templates.started("") == ""


@pytest.mark.parametrize("page", ["index.html", "report.md"])
def test_a_report_leads_to_the_claims_of_its_run(page: str, tmp_path: Path) -> None:
    """Only where they were checked: a link must not lead nowhere."""
    points = statistics.points(store.load_measurements(RUN))[:2]
    machine = msgspec.structs.replace(store.load_machine(RUN))
    nothing = Findings(headlines=(), captions={}, reference=())
    report.write(tmp_path, machine, points, nothing)
    assert "claims.md" not in (tmp_path / page).read_text()
    (tmp_path / "claims.md").write_text("# Claims\n")
    report.write(tmp_path, machine, points, nothing)
    assert "claims.md" in (tmp_path / page).read_text()
