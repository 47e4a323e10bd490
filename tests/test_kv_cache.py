"""Caches as exporters write them: names, the axis that counts tokens, and how they grow."""

import pytest

from edgeprof import kv_cache
from edgeprof.inputs import LoadRequest, resolve, signature
from edgeprof.inputs.sizes import cache_bytes
from edgeprof.schema import TensorSpec


def tensor(name: str, *dims: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims)


@pytest.mark.parametrize(
    ("past", "present", "cross"),
    [
        ("past_key_values.3.value", "present.3.value", False),  # optimum, a decoder
        ("past_key_values.0.decoder.key", "present.0.decoder.key", False),  # optimum, T5
        ("past_key_values.0.encoder.key", "present.0.encoder.key", True),
        ("past_key_self_0", "present_key_self_0", False),  # onnxruntime's converter of Whisper
        ("past_value_cross_1", "present_value_cross_1", True),
        ("past_0", "present_0", False),  # onnxruntime's converter of GPT-2
    ],
)
def test_an_output_continues_the_input_of_its_name(past: str, present: str, cross: bool) -> None:
    assert kv_cache.present_of(past) == present
    assert past in kv_cache.past_of(present)
    assert (kv_cache.is_past(past), kv_cache.is_present(present)) == (True, True)
    assert kv_cache.is_cross(past) == cross


@pytest.mark.parametrize(
    ("before", "after", "axes"),
    [
        (("batch", 8, "past_length", 64), ("batch", 8, "past_length + 1", 64), (0, 2)),
        (("batch", 8, 64, "past_length"), ("batch", 8, 64, "total_length"), (0, 3)),  # keys turned, as Falcon's are
        ((1, 8, 15, 64), (1, 8, 16, 64), (0, 2)),  # of fixed size: the output is longer
        ((2, 1, 8, 15, 64), (2, 1, 8, 16, 64), (1, 3)),  # keys and values in one tensor
    ],
)
def test_the_axis_that_counts_tokens(before: tuple[int | str, ...], after: tuple[int | str, ...], axes: object) -> None:
    result = kv_cache.axes_of(tensor("past", *before), [tensor("present", *after)], batch_second=False)
    assert result == axes


def test_bytes_of_a_cache_that_grows_and_of_cross_attention() -> None:
    caches = [
        *kv_cache.specs("past_key_values", 2, ("batch", 4, "past_length", 16), side="decoder"),
        *kv_cache.specs("past_key_values", 2, ("batch", 4, "source_length", 16), side="encoder"),
    ]
    accepted = signature((tensor("input_ids", "batch", "length", dtype="int64"), *caches))
    sizes = resolve(accepted, LoadRequest(phase="decode", length=10), dims={"source_length": 7})
    # 2 layers of keys and values, 4 heads of 16 numbers of 4 bytes; 10 + 1 tokens of the decoder, 7 of the encoder
    assert accepted.cache_kind == "growing"
    assert cache_bytes(accepted, sizes) == 2 * 2 * 4 * 16 * 4 * (11 + 7)


def test_bytes_of_a_shared_buffer_stay() -> None:
    buffer = ("batch", 4, 128, 16)
    accepted = signature(
        (
            tensor("input_ids", "batch", "length", dtype="int64"),
            tensor("seqlens_k", "batch", dtype="int32"),
            tensor("past_key_values.0.key", *buffer),
            tensor("past_key_values.0.value", *buffer),
        ),
        outputs=(tensor("present.0.key", *buffer), tensor("present.0.value", *buffer)),
    )
    sizes = resolve(accepted, LoadRequest(phase="decode", length=10))
    assert accepted.cache_kind == "buffer"
    assert cache_bytes(accepted, sizes) == 2 * 4 * 128 * 16 * 4
