"""The run that checks measured claims: an existing one, or a new one."""

import os
from pathlib import Path

import msgspec
import onnx
import pytest
from builders import length_runs

from edgeprof import check_claims, store
from edgeprof.analysis import growth
from edgeprof.api import claims
from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.schema import CheckedClaim


def of_length(checked: list[CheckedClaim]) -> CheckedClaim:
    (claim,) = (claim for claim in checked if claim.how == "measured")
    return claim


def test_the_latest_run_with_enough_points_is_used(tmp_path: Path) -> None:
    runs = [
        length_runs.write(tmp_path / "older", length_runs.visits()),
        length_runs.write(tmp_path / "newer", length_runs.visits()),
        length_runs.write(tmp_path / "too-short", length_runs.visits(lengths=(16, 32, 64, 128))),
        length_runs.write(tmp_path / "one-model", length_runs.visits(["gpt2"])),
        length_runs.write(tmp_path / "damaged", length_runs.visits()),
        length_runs.write(tmp_path / "mixed", length_runs.visits()),
    ]
    for age, folder in enumerate(runs):
        os.utime(folder / store.MEASUREMENTS_FILE, (age, age))
    (tmp_path / "damaged" / store.MACHINE_FILE).write_text("{}")
    machine = tmp_path / "mixed" / store.MACHINE_FILE
    machine.write_text(machine.read_text().replace(length_runs.MACHINE.machine_id, "another"))
    claim = of_length(check_claims(out=tmp_path))
    assert claim.run == str(tmp_path / "newer")
    assert claim.verdict == "confirmed"
    assert [file.parent.name for file in tmp_path.rglob("claims.md")] == ["newer"]


def test_a_run_by_name_or_folder(tmp_path: Path) -> None:
    length_runs.write(tmp_path / "mine", length_runs.visits())
    length_runs.write(tmp_path / "later", length_runs.visits())
    assert of_length(check_claims("mine", out=tmp_path)).run == str(tmp_path / "mine")
    assert of_length(check_claims(tmp_path / "mine")).run == str(tmp_path / "mine")


def test_without_a_run_the_claim_is_not_checked(tmp_path: Path) -> None:
    length_runs.write(tmp_path / "reports" / "one-model", length_runs.visits(["gpt2"]))
    for out in (tmp_path / "reports", tmp_path / "nowhere"):
        checked = check_claims(out=out)
        claim = of_length(checked)
        assert claim.found == (f"no run in {out} has bert-base and gpt2 at 5 lengths; add --measure",)
        assert all(claim.holds for claim in checked)
    assert not list(tmp_path.rglob("claims.md"))


def test_a_wrong_name_and_a_run_that_lacks_points_are_refused(tmp_path: Path) -> None:
    length_runs.write(tmp_path / "mine", length_runs.visits(["gpt2"], (16, 64)))
    with pytest.raises(UnknownName, match=r"no run called 'mne'\. Did you mean mine\?"):
        check_claims("mne", out=tmp_path)
    with pytest.raises(
        UsageError,
        match=r"Run 'mine' lacks bert-base fp32 prefill at 5 token lengths \(there is none\) and "
        r"gpt2 fp32 prefill at 5 token lengths \(there is only 16, 64\)\. "
        r"Add --measure to measure the missing points\.",
    ):
        check_claims("mine", out=tmp_path)


def test_a_length_that_failed_is_one_that_is_missing(tmp_path: Path) -> None:
    failed = length_runs.visits(["gpt2"], [256], status="timeout", reading=None)
    length_runs.write(tmp_path / "mine", [*length_runs.visits(), *failed])
    with pytest.raises(
        UsageError, match=r"lacks gpt2 fp32 prefill at 5 token lengths \(there is only 16, 32, 64, 128\)"
    ):
        check_claims("mine", out=tmp_path)
    assert of_length(check_claims(out=tmp_path)).verdict is None


# --- a new run -----------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim about models small enough to measure in a test, in as few runs as make a point."""
    monkeypatch.setattr(growth, "MODELS", ("bert-tiny", "gpt2-small"))
    monkeypatch.setattr(growth, "LENGTHS", (4, 8, 16, 24, 32))
    for name, value in {"ROUNDS": 1, "RUNS": 2, "MIN_TIME_S": 0.0}.items():
        monkeypatch.setattr(claims, name, value)


@pytest.mark.usefixtures("small")
def test_what_is_missing_is_exported_and_measured_and_nothing_else(models: Path, tmp_path: Path) -> None:
    from edgeprof import profile

    mine, out = tmp_path / "models", tmp_path / "reports"
    mine.mkdir()
    (mine / "gpt2-small").symlink_to(models / "gpt2-small")
    profile(["gpt2-small"], seq=[8, 40], phase="prefill", precision=["fp32"], rounds=1, max_time_s=0, runs=2,
            min_time_s=0, models=mine, out=out, name="mine")  # fmt: skip
    before = (out / "mine" / store.MEASUREMENTS_FILE).read_bytes()
    summary: list[tuple[str, float | None]] = []

    claim = of_length(
        check_claims("mine", measure=True, models=mine, out=out, progress=lambda *step: summary.append(step))
    )
    assert [[point.load.tokens for point in fitted.points] for fitted in claim.growths] == [
        [4, 8, 16, 24, 32],
        [4, 8, 16, 24, 32, 40],
    ]
    assert (mine / "bert-tiny" / "fp32" / store.ARTIFACT_FILE).exists()
    assert not (mine / "bert-tiny" / "int8").exists()
    records = (out / "mine" / store.MEASUREMENTS_FILE).read_bytes()
    assert records.startswith(before)
    assert {doing.partition(":")[0] for doing, _ in summary} == {"export", "profile"}
    assert all(0 <= share <= 1 for _, share in summary if share is not None)

    check_claims("mine", measure=True, models=mine, out=out)
    assert (out / "mine" / store.MEASUREMENTS_FILE).read_bytes() == records


@pytest.mark.usefixtures("small")
def test_a_point_that_cannot_be_measured_is_named(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "MODELS", ("bert-tiny",))
    mine = tmp_path / "models" / "bert-tiny" / "fp32"
    mine.mkdir(parents=True)
    for file in (models / "bert-tiny" / "fp32").iterdir():
        (mine / file.name).write_bytes(file.read_bytes())
    graph = onnx.load(mine / store.MODEL_FILE, load_external_data=False)
    graph.graph.node[-1].op_type = "NoSuchOperator"
    (mine / store.MODEL_FILE).write_bytes(graph.SerializeToString())
    record = msgspec.json.decode((mine / store.ARTIFACT_FILE).read_bytes())
    record["graphs"][0]["sha256"] = store.sha256_of(mine / store.MODEL_FILE)  # as if it was exported so
    (mine / store.ARTIFACT_FILE).write_bytes(msgspec.json.encode(record))
    with pytest.raises(RunError, match="bert-tiny could not be measured at 4 tokens: "):
        check_claims(measure=True, models=tmp_path / "models", out=tmp_path / "reports")
    assert (tmp_path / "reports" / "claims").is_dir()
