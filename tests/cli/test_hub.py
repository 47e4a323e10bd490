"""Targets on the hub, and variants whose weights are there; a hub that does not answer is waited for in vain once."""

from pathlib import Path

import local_hub
import pytest
import tiny_models
from command import Command


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.checkpoint(tmp_path_factory.mktemp("checkpoints") / "bert", "bert", "base")


def test_a_repository_is_downloaded_once_and_then_read_from_the_cache(
    bert: Path, edgeprof: Command, tmp_path: Path
) -> None:
    home = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    with local_hub.serving("owner/small-bert", bert) as address:
        ran = edgeprof("export", "owner/small-bert", HF_ENDPOINT=address, **home)
    assert ran.code == 0, ran.err
    assert "small-bert fp32: exported" in ran.out
    assert "pretrained (owner/small-bert) weights" in ran.out
    again = edgeprof("export", "owner/small-bert", HF_ENDPOINT=local_hub.nobody(), **home)
    assert again.code == 0, again.err
    assert "small-bert fp32: up to date" in again.out


def test_a_private_repository_is_downloaded_with_the_users_token(bert: Path, edgeprof: Command, tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    with local_hub.serving("owner/mine", bert, token="hf_secret") as address:
        for token, summary in {
            "": "no public owner/mine",
            "hf_other": "no owner/mine that your token may read",
        }.items():
            refused = edgeprof("export", "owner/mine", HF_ENDPOINT=address, HF_TOKEN=token, **home)
            assert refused.code == 1
            assert summary in refused.err
        ran = edgeprof("export", "owner/mine", HF_ENDPOINT=address, HF_TOKEN="hf_secret", **home)
    assert ran.code == 0, ran.err
    assert "pretrained (owner/mine) weights" in ran.out


def test_a_hub_that_never_answers_gives_random_weights_and_one_visible_line(edgeprof: Command) -> None:
    with local_hub.silent_hub() as address:
        ran = edgeprof("export", "bert-tiny", HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    assert ran.code == 0, ran.err
    notes = [line for line in ran.out.splitlines() if "has random weights" in line]
    assert notes == [f"bert-tiny has random weights: The hub ({address}) did not answer within 5 s."]
    assert "random (seed 0) weights" in ran.out


def test_weights_that_the_hub_does_not_have_are_named(edgeprof: Command, tmp_path: Path) -> None:
    with local_hub.serving("owner/other", tmp_path) as address:
        ran = edgeprof("export", "bert-tiny", "--weights", "pretrained", HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    (message,) = ran.sentences
    assert (ran.code, ran.out) == (1, "")
    assert f"The hub ({address}) has no public google/bert_uncased_L-2_H-128_A-2. Use a local folder" in message


@pytest.mark.parametrize("target", ["bert-tiny", "owner/name"])
def test_an_unreachable_hub_is_an_error_where_its_weights_are_needed(target: str, edgeprof: Command) -> None:
    ran = edgeprof("export", target, "--weights", "pretrained", HF_ENDPOINT=local_hub.nobody(), HF_HUB_OFFLINE="0")
    assert (ran.code, ran.out) == (1, "")
    (message,) = ran.sentences
    assert "cannot be reached. Use a local folder, or --weights random." in message
