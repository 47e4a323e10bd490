"""`compare` on models that run: in turn, in another environment, and from records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import length_runs, records

from edgeprof import compare, load_run, store
from edgeprof.api.compare_measured import _order
from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.schema import Comparison, Machine, Measurement, decode

QUICK: dict[str, Any] = {"seq": [4], "rounds": 2, "max_time_s": 0, "runs": 2, "min_time_s": 0, "threads": 1}

# --- measured ----------------------------------------------------------------------------------------------


def test_two_models_are_visited_in_turn_and_kept(models: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "models": models, "out": tmp_path, "name": "two"}
    first = compare("bert-tiny:fp32", "bert-tiny:int8", **settings)
    (point,) = first.points
    assert (first.a.name, first.b.name, first.paired) == ("bert-tiny fp32", "bert-tiny int8", True)
    pairs = store.load_pairs(tmp_path / "two")
    assert [(pair.round, pair.outcome.status) for pair in pairs] == [(0, "ok"), (1, "ok")]
    assert point.ratio_low < point.ratio < point.ratio_high
    assert (point.a_rounds, point.b_rounds, point.label) == (2, 2, "prefill at 4 tokens")
    runs = [load_run(tmp_path / "two" / side) for side in "ab"]
    assert [len(run.measurements) for run in runs] == [2, 2]
    assert decode((tmp_path / "two" / "comparison.json").read_bytes(), Comparison, "it") == first
    page = (tmp_path / "two" / "index.html").read_text()
    assert "bert-tiny int8 against bert-tiny fp32" in page and f"{point.ratio:.3f}" in page
    assert "| prefill | 4 |" in (tmp_path / "two" / "comparison.md").read_text()
    again = compare("bert-tiny:fp32", "bert-tiny:int8", **settings | {"rounds": 3})
    assert again.points[0].a_rounds == 3
    assert store.load_pairs(tmp_path / "two")[:2] == pairs
    added = [load_run(tmp_path / "two" / side).measurements for side in "ab"]
    assert [side[:2] for side in added] == [run.measurements for run in runs], "two rounds were resumed"


def test_one_model_in_two_environments(models: Path, tmp_path: Path, openvino: Path) -> None:
    here = compare("bert-tiny:fp32", python=openvino, **QUICK, models=models, out=tmp_path)
    versions = [side.machine.versions["onnxruntime"] for side in (here.a, here.b)]
    assert versions[0] != versions[1]
    assert here.b.name == f"bert-tiny fp32 (onnxruntime {versions[1]})"
    assert here.points[0].b.place.machine_id == here.b.machine.machine_id != here.a.machine.machine_id
    assert any(f"onnxruntime {versions[0]} in A, {versions[1]} in B" in note for note in here.notes)
    with pytest.raises(UsageError, match="so --python has no use"):
        compare(here.a.folder, python=openvino, out=tmp_path)


def test_a_and_a_take_turns_in_both_orders() -> None:
    orders = [_order(number, index) for number in range(200) for index in range(3)]
    assert orders.count((0, 1)) == orders.count((1, 0)) == 300
    assert all(set(_order(2 * n, 0)) == {0, 1} and _order(2 * n, 0) != _order(2 * n + 1, 0) for n in range(9))


@pytest.mark.parametrize(
    ("python", "message"),
    [("missing/python", "cannot be run as Python"), ("/bin/true", "cannot be run as Python")],
)
def test_what_is_no_interpreter_is_refused(python: str, message: str, models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        compare("bert-tiny:fp32", python=Path(python), models=models, out=tmp_path)


def test_an_environment_that_lacks_packages_is_told(models: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(UsageError) as refused:
        compare("bert-tiny:fp32", python=python, models=models, out=tmp_path)
    assert refused.value.what.endswith(
        "lacks lazy-loader, msgspec, numpy, onnxruntime and psutil, which measuring needs."
    )
    assert refused.value.next_step.endswith("-m pip install lazy-loader msgspec numpy onnxruntime psutil")


def test_wrong_requests(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to compare A with"):
        compare("bert-tiny:fp32", models=models, out=tmp_path)
    with pytest.raises(UsageError, match="two rounds or more"):
        compare("bert-tiny:fp32", "bert-tiny:int8", rounds=1, models=models, out=tmp_path)
    with pytest.raises(UnknownName):
        compare("bert-tiny:fp32", "no-such-model", models=models, out=tmp_path)


# --- recorded ----------------------------------------------------------------------------------------------


def written(folder: Path, visits: Sequence[Measurement], machine: Machine = length_runs.MACHINE) -> Path:
    store.open_run(folder, machine)
    for record in visits:
        store.append_measurement(folder, records.changed(record, machine_id=machine.machine_id))
    return folder


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """ "before" and "after", in which gpt2 takes 10 % longer and bert-base as long."""
    slower = length_runs.visits(["gpt2"], [64, 128], seconds=lambda tokens: 1.1 * length_runs.line_s(tokens))
    written(tmp_path / "before", length_runs.visits(lengths=[64, 256]))
    written(tmp_path / "after", [*length_runs.visits(["bert-base"], [64]), *slower])
    return tmp_path


def test_two_runs_by_name(two_runs: Path) -> None:
    compared = compare("before", "after", out=two_runs)
    found = [(point.label, round(point.ratio, 3), point.verdict) for point in compared.points]
    assert found == [
        ("bert-base fp32, prefill at 64 tokens", 1.0, "no difference shown"),
        ("gpt2 fp32, prefill at 64 tokens", 1.1, "slower"),
    ]
    assert not compared.paired
    assert [point.label for point in compared.regressions(0.05)] == ["gpt2 fp32, prefill at 64 tokens"]
    assert compared.regressions(0.15) == []
    assert compared.headline == "B is slower than A at 1 of 2 points; no difference is shown at 1."
    assert any(note.startswith("In one run only: ") for note in compared.notes)
    assert compared.folder == str(two_runs / "compare-before-after")


def test_two_models_of_one_run_are_paired(tmp_path: Path) -> None:
    written(tmp_path / "both", length_runs.visits(lengths=[64]))
    compared = compare("bert-base", "gpt2", run="both", out=tmp_path)
    (point,) = compared.points
    assert compared.paired
    assert (point.ratio, point.ratio_low, point.ratio_high) == pytest.approx((1, 1, 1))
    assert point.b_rounds == 3


def machine(**fields: Any) -> Machine:
    return msgspec.structs.replace(length_runs.MACHINE, **fields)


def test_runs_of_different_machines_are_refused_unless_it_is_asked_for(two_runs: Path) -> None:
    other = machine(machine_id="other", cpu="Another CPU")
    written(two_runs / "other", length_runs.visits(lengths=[64]), other)
    with pytest.raises(RunError, match=r"different machines \(Example Edge CPU, 2 cores; Another CPU, 2 cores\)") as no:
        compare("before", "other", out=two_runs)
    assert "--across-machines" in no.value.next_step
    compared = compare("before", "other", across_machines=True, out=two_runs)
    assert "These runs were made on different machines." in compared.notes
    upgraded = machine(machine_id="upgraded", versions={"edgeprof": "0.2.0"})
    written(two_runs / "upgraded", length_runs.visits(lengths=[64]), upgraded)
    notes = compare("before", "upgraded", out=two_runs).notes
    assert "Versions: edgeprof 0.1.0 in A, 0.2.0 in B." in notes


def test_what_cannot_be_compared_says_so(two_runs: Path) -> None:
    written(two_runs / "short", length_runs.visits(["gpt2", "bert-base"], [16]))
    with pytest.raises(RunError, match="have no point that can be compared") as nothing:
        compare("before", "short", out=two_runs)
    assert "before has bert-base fp32, prefill at 64 tokens" in nothing.value.next_step
    with pytest.raises(UsageError, match="before is a run, and bert-tiny is not"):
        compare("before", "bert-tiny", out=two_runs)
    with pytest.raises(UsageError, match="nothing is named beside it"):
        compare("before", out=two_runs)
    with pytest.raises(UsageError, match="before is a run, whose pages"):
        compare("before", "after", name="before", out=two_runs)
    file = two_runs / "after" / store.MEASUREMENTS_FILE
    file.write_text(file.read_text().replace('"schema_version":2', '"schema_version":9'))
    with pytest.raises(RunError, match=r"newer edgeprof .* Upgrade edgeprof"):
        compare("before", "after", out=two_runs)
