"""`profile --ops` tells modules: their MACs are those of the point, their times those of its operators."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from builders import layer_graph, probes

from edgeprof import load_run, profile
from edgeprof.measure import matmul_speed, operator_worker
from edgeprof.schema import StoppingRule

QUICK: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0}
PARTS = ["embedding", "attention projections", "attention scores", "MLP", "norms and residuals", "head"]


def test_modules_add_up(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(matmul_speed, "ROUNDS", 0)
    monkeypatch.setattr(operator_worker, "STOPPING", StoppingRule(min_runs=2, min_time_s=0))
    foreign = tmp_path / "old.onnx"
    onnx.save(layer_graph.model(), foreign)
    targets = [*(name for name in sorted(path.name for path in models.iterdir()) if "small" in name), "bert-tiny"]
    run = profile(
        [*targets, "vit-tiny", str(foreign)],
        seq=[16],
        precision=["fp32"],
        ops=True,
        models=models,
        out=tmp_path,
        name="modules",
        **QUICK,
    )
    macs = {point.key: point.facts.macs for point in run.points}
    assert len(run.operators) == 5, "gpt2 in prefill and in decode, and three others"
    for one in run.operators:
        assert one.outcome.reading is not None and one.outcome.reading.nodes == ()
        assert sum(module.macs for module in one.modules) == macs[one.key], one.key.label
        operators_s = sum(time.time_s for time in one.outcome.reading.operators)
        assert sum(module.time_s for module in one.modules) == pytest.approx(operators_s)
        assert set(PARTS) <= {module.module for module in one.modules}
    assert run.rooflines == () and "Run: edgeprof probe" in run.reached[0]
    probes.keep()
    again = load_run(run.folder)
    assert [one.key for one in again.rooflines] == [one.key for one in run.operators]
    assert len(again.reached) == 5 and all("-bound, at " in line for line in again.reached)
