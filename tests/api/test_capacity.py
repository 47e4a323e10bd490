"""What does not fit into memory or onto the disk is refused before anything is made, and nothing else is."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeprof import export
from edgeprof.api import capacity
from edgeprof.errors import TooLarge, UsageError
from edgeprof.families import family_of, find_variant

GIB = 2**30
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend to be one with so many bytes left."""

    def pretend(*, memory: float = 1e15, disk: float = 1e15) -> None:
        monkeypatch.setattr(capacity, "available_memory", lambda: int(memory))
        monkeypatch.setattr(capacity, "free_disk", lambda _folder: int(disk))

    return pretend


def test_gpt3_says_what_it_needs_and_what_is_here(machine: Machine, tmp_path: Path) -> None:
    """174.6 G parameters x 4 bytes = 698 GB on disk; 1.15 times that, and torch, in memory."""
    machine(memory=23.1e9, disk=61e9)
    with pytest.raises(TooLarge) as refusal:
        export(["gpt3"], out=tmp_path / "models")
    assert str(refusal.value) == (
        "Exporting gpt3 needs about 804 GB of memory and 698 GB of disk; this machine has 23.1 GB and 61 GB free. "
        "Use a larger machine, or explain the model: edgeprof explain gpt3"
    )
    assert refusal.value.exit_code == 1
    assert not (tmp_path / "models").exists()


def test_the_command_that_is_offered_has_the_sizes_that_were_given(machine: Machine, tmp_path: Path) -> None:
    machine(memory=1e9)
    with pytest.raises(
        TooLarge, match=r"mixer-dense-w64-t256 needs.* edgeprof explain mixer-dense --width 64 --tokens "
    ):
        export(["mixer-dense"], width=64, tokens=256, out=tmp_path)


def test_either_may_be_too_little(machine: Machine, tmp_path: Path) -> None:
    """gpt2-xl: 6.23 GB of weights."""
    for here in ({"memory": 7e9}, {"disk": 6e9}):
        machine(**here)
        with pytest.raises(TooLarge, match=r"Exporting gpt2-xl needs about 7\.67 GB of memory and 6\.23 GB of disk"):
            export(["gpt2-xl"], out=tmp_path)


def params(name: str) -> int:
    variant = find_variant(name)
    return family_of(variant).params(variant)


@pytest.mark.parametrize("name", ["gpt2-xl", "gpt3-2.7b", "vit-huge", "bert-large", "embedding-word2vec"])
def test_what_fits_into_24_gib_is_not_refused(name: str, machine: Machine, tmp_path: Path) -> None:
    machine(memory=22 * GIB, disk=50e9)
    assert capacity.too_large(name, params(name), ["fp32"], tmp_path, "") is None


def test_to_be_quantized_a_model_needs_more_of_both(machine: Machine, tmp_path: Path) -> None:
    variant = "gpt2-xl", params("gpt2-xl")
    machine(memory=10e9)
    assert capacity.too_large(*variant, ["fp32"], tmp_path, "") is None
    assert capacity.too_large(*variant, ["a16w8"], tmp_path, "") is not None
    machine(disk=7e9)
    assert (
        capacity.too_large(*variant, ["fp32"], tmp_path, "")
        is capacity.too_large(*variant, ["int8"], tmp_path, "")
        is None
    )
    assert capacity.too_large(*variant, ["fp32", "int8"], tmp_path, "") is not None
    machine(memory=0, disk=0)
    assert capacity.too_large(*variant, [], tmp_path, "") is None


def test_an_existing_artifact_is_answered_from_disk(machine: Machine, models: Path, tmp_path: Path) -> None:
    machine(memory=0, disk=0)
    built = export(["bert-tiny"], precision=["fp32", "int8"], out=models)
    assert [one.up_to_date for one in built] == [True, True]
    with pytest.raises(TooLarge, match="bert-tiny"):
        export(["bert-tiny"], out=models, force=True)
    out = Path(shutil.copytree(models, tmp_path / "models"))
    shutil.rmtree(out / "bert-tiny/int8")
    with pytest.raises(TooLarge, match=r"and 17\.5 MB of disk"):  # 4,385,920 x 4, once: fp32 is there
        export(["bert-tiny"], precision=["fp32", "int8"], out=out)


def test_a_wrong_request_is_reported_first(machine: Machine, tmp_path: Path) -> None:
    machine(memory=0)
    for targets in (["gpt3", "gtp2"], ["gtp2", "gpt3"]):
        with pytest.raises(UsageError, match="Did you mean"):
            export(targets, out=tmp_path)


def test_nothing_is_begun_when_one_of_several_does_not_fit(machine: Machine, tmp_path: Path) -> None:
    machine(memory=20 * GIB)
    with pytest.raises(TooLarge, match="Exporting gpt3 needs"):
        export(["bert-tiny", "gpt3"], out=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_with_keep_going_it_is_the_error_of_that_target(machine: Machine, models: Path) -> None:
    machine(memory=20 * GIB)
    refused, built = export(["gpt3", "bert-tiny"], out=models, keep_going=True)
    assert (refused.target, refused.artifact) == ("gpt3", None)
    assert refused.error.startswith("Exporting gpt3 needs about 804 GB")
    assert built.up_to_date


def test_a_limit_on_memory_counts_where_it_is_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
    for limit, available in ((None, 8 * GIB), (2 * GIB, 2 * GIB), (16 * GIB, 8 * GIB)):
        monkeypatch.setattr(capacity, "memory_limit", lambda limit=limit: limit)
        assert capacity.available_memory() == available


def test_a_folder_that_is_not_there_yet_lies_on_the_disk_above_it(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert capacity.free_disk(tmp_path / "models" / "more") == pytest.approx(free, rel=0.05)
