"""Files for onnxruntime-genai: which models get them, and what they say."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeprof.errors import CheckpointError, UsageError
from edgeprof.stages import genai_folder


@pytest.fixture
def tokenized(tmp_path: Path) -> Path:
    """A checkpoint folder without weights: a tokenizer of two special tokens, and a config."""
    added = [{"id": 0, "content": "<s>"}, {"id": 7, "content": "</s>"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": {"content": "</s>"}}))
    return tmp_path


def test_a_model_that_is_no_fused_decoder_is_refused(artifacts: dict[tuple[str, str], Any], tokenized: Path) -> None:
    with pytest.raises(UsageError, match="bert-tiny is not a decoder with fused attention"):
        genai_folder.write(artifacts["bert", "fp32"], tokenized)


def test_a_missing_tokenizer_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"needs the tokenizer.json of small, and .* has none"):
        genai_folder.require_tokenizer("small", tmp_path)
    with pytest.raises(CheckpointError, match=r"of small, and its weights are random"):
        genai_folder.require_tokenizer("small", None)


def test_special_tokens_come_from_the_most_specific_file(tokenized: Path) -> None:
    ids = genai_folder.special_tokens
    assert ids(tokenized) == {"bos_token_id": 0, "eos_token_id": 7, "pad_token_id": 7}
    (tokenized / "config.json").write_text(json.dumps({"eos_token_id": 8, "pad_token_id": None}))
    assert ids(tokenized) == {"bos_token_id": 0, "eos_token_id": 8, "pad_token_id": 8}
    (tokenized / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, 8], "pad_token_id": 3}))
    assert ids(tokenized) == {"bos_token_id": 0, "eos_token_id": [9, 8], "pad_token_id": 3}


def test_without_an_end_of_text_there_is_no_configuration(tokenized: Path) -> None:
    (tokenized / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="does not say which token ends a text"):
        genai_folder.special_tokens(tokenized)
