"""Where weights come from, and that a hub which does not answer costs seconds, not minutes."""

import os
import shutil
from pathlib import Path

import local_hub
import pytest
import tiny_models

from edgeprof.errors import CheckpointError, UsageError
from edgeprof.process import silent
from edgeprof.stages.weights import Weights, cached, fetch


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")


def test_a_hub_that_is_not_there_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", local_hub.nobody())
    with pytest.raises(CheckpointError, match="cannot be reached"):
        fetch("owner/name", silent)


def test_a_repository_that_the_hub_does_not_have_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with local_hub.serving("owner/name", tmp_path) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(CheckpointError, match="has no public owner/other"):
            fetch("owner/other", silent)


def test_an_address_that_is_none_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    with pytest.raises(CheckpointError, match="cannot be reached"):
        fetch("owner/name", silent)


def test_a_disabled_hub_is_not_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="switched off"):
        fetch("owner/name", silent)


@pytest.mark.parametrize("name", ["a/..", "a--b/c", "a/c-"])
def test_what_cannot_name_a_repository_is_not_looked_up(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} is not a valid name of a hub repository\."):
        cached(name)


def test_equal_weights_have_equal_keys_wherever_they_lie(tmp_path: Path) -> None:
    one = tiny_models.checkpoint(tmp_path / "one", "bert", "base")
    other = Path(shutil.copytree(one, tmp_path / "other"))
    assert Weights(folder=str(one)).key() == Weights(folder=str(other)).key()
    with (other / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    assert Weights(folder=str(one)).key() != Weights(folder=str(other)).key()
    (other / "model.safetensors").write_bytes((one / "model.safetensors").read_bytes())
    (other / "config.json").write_text((one / "config.json").read_text() + " ")
    assert Weights(folder=str(one)).key() != Weights(folder=str(other)).key()


def test_labels_say_where_weights_come_from() -> None:
    assert str(Weights().source) == "random (seed 0)"
    assert str(Weights(folder="/here/minilm").source) == "pretrained (minilm)"
