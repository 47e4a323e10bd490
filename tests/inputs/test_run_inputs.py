"""Inputs of one run: what a cache takes, and where masks from files pad."""

from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import UsageError
from edgeprof.inputs import LoadRequest, signature
from edgeprof.inputs.run_inputs import Inputs, of_file
from edgeprof.kv_cache import specs
from edgeprof.schema import TensorSpec

TOTAL = "past_sequence_length + sequence_length"
DECODER = (
    TensorSpec(name="input_ids", dtype="int64", dims=("batch_size", "sequence_length")),
    TensorSpec(name="attention_mask", dtype="int64", dims=("batch_size", TOTAL)),
    *specs("past_key_values", 2, ("batch_size", 3, "past_sequence_length", 16)),
)


def inputs(tmp_path: Path, past: int, mask: list[list[int]]) -> Inputs:
    np.save(tmp_path / "mask.npy", np.array(mask, np.int64))
    load = LoadRequest(phase="decode" if past else "prefill", batch=len(mask), length=past or len(mask[0]))
    return of_file(signature(DECODER), load, given={"attention_mask": tmp_path / "mask.npy"})


def test_the_past_of_a_growing_cache_is_copied(tmp_path: Path) -> None:
    """Keys and values of 2 layers, 3 heads of 16, in 2 sequences: 1,536 bytes a token."""
    assert inputs(tmp_path, 4, [[1] * 5, [1] * 5]).past_bytes == 4 * 1536
    assert inputs(tmp_path, 0, [[1] * 5, [1] * 5]).past_bytes == 0


def test_padding_is_on_the_right(tmp_path: Path) -> None:
    inputs(tmp_path, 0, [[1, 1, 1], [1, 0, 0]]).require_right_padding()
    inputs(tmp_path, 3, [[1, 1, 1, 1], [1, 0, 0, 1]]).require_right_padding()  # of the past, before the new token
    for past, row in ((0, [0, 1, 1]), (3, [0, 1, 1, 1])):
        with pytest.raises(UsageError, match="'attention_mask' pads on the left"):
            inputs(tmp_path, past, [[1] * len(row), row]).require_right_padding()
