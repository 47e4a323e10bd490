from pathlib import Path

import numpy as np
import pytest

from edgeprof.errors import UnknownName, UsageError
from edgeprof.measure.inputs import bind, fixed_past, takes_tokens, token_length
from edgeprof.schema import InputValue, TensorSpec


def spec(name: str, *dims: int | str, dtype: str = "int64") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims)


BERT = [spec(name, "batch_size", "sequence_length") for name in ("input_ids", "attention_mask", "token_type_ids")]
GPT2 = [
    spec("input_ids", "batch_size", "sequence_length"),
    spec("attention_mask", "batch_size", "past_sequence_length + sequence_length"),
    spec("position_ids", "batch_size", "sequence_length"),
    spec("past_key_values.0.key", "batch_size", 12, "past_sequence_length", 64, dtype="float32"),
    spec("past_key_values.0.value", "batch_size", 12, "past_sequence_length", 64, dtype="float32"),
]


def seen(values: tuple[InputValue, ...]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(value.name, value.shape, value.fill) for value in values]


def test_an_encoder() -> None:
    values = bind(BERT, batch=3, tokens=7, vocabulary=30522)
    assert seen(values) == [
        ("input_ids", (3, 7), "token_ids"),
        ("attention_mask", (3, 7), "ones"),
        ("token_type_ids", (3, 7), "zeros"),
    ]
    assert values[0].high == 30522
    assert token_length(values) == 7


def test_a_decoder_with_and_without_a_past() -> None:
    values = bind(GPT2, batch=2, tokens=1, past_tokens=128, vocabulary=50257)
    assert seen(values) == [
        ("input_ids", (2, 1), "token_ids"),
        ("attention_mask", (2, 129), "ones"),
        ("position_ids", (2, 1), "positions"),
        ("past_key_values.0.key", (2, 12, 128, 64), "normal"),
        ("past_key_values.0.value", (2, 12, 128, 64), "normal"),
    ]
    assert values[2].start == 128
    prefill = bind(GPT2, batch=1, tokens=16)
    assert [value.shape for value in prefill] == [(1, 16)] * 3 + [(1, 12, 0, 64)] * 2
    assert prefill[2].start == 0


def test_images_are_sized_by_height_and_width() -> None:
    image = spec("pixel_values", "batch_size", 3, "height", "width", dtype="float32")
    values = bind([image], batch=2, tokens=None, dims={"height": 224, "width": 192})
    assert seen(values) == [("pixel_values", (2, 3, 224, 192), "normal")]


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (("batch", "seq"), (2, 5)),
        (("N", "L"), (2, 5)),  # a leading N is the batch, as in NCHW ...
        (("B", "N"), (2, 5)),  # ... any other one counts tokens
        (("batch_size", "total_sequence_length"), (2, 8)),
        (("batch", "past_len"), (2, 3)),
        (("batch", "past_sequence_length+1"), (2, 4)),
    ],
)
def test_usual_names_of_other_exporters(dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
    specs = [*GPT2, spec("other", *dims)]
    assert bind(specs, batch=2, tokens=5, past_tokens=3)[-1].shape == shape


def cached(past: int | str, mask: int | str) -> list[TensorSpec]:
    return [
        spec("input_ids", 1, 1),
        spec("attention_mask", 1, mask),
        spec("past_key_values.0.key", 1, 4, past, 64, dtype="float32"),
    ]


def test_a_cache_of_fixed_size_has_a_mask_as_long_as_itself() -> None:
    assert fixed_past(cached(33, 33)) == 32
    assert fixed_past(cached(32, 33)) == 0  # one that grows by a token, its shapes fixed
    assert fixed_past(GPT2) == 0
    assert fixed_past(BERT) == 0
    assert [value.shape[-2:] for value in bind(cached(33, 33), batch=1, tokens=1, past_tokens=32)] == [
        (1, 1),
        (1, 33),
        (33, 64),
    ]
    with pytest.raises(UsageError, match=r"of 32 tokens and the new one\. Ask for decode after 32 tokens"):
        bind(cached(33, 33), batch=1, tokens=1, past_tokens=16)


@pytest.mark.parametrize(
    ("name", "dtype", "fill"),
    [
        ("input_ids", "int32", "token_ids"),
        ("tokens", "int64", "token_ids"),
        ("segment_ids", "int64", "zeros"),
        ("positions", "int64", "positions"),
        ("attention_mask", "float32", "ones"),
        ("use_cache_branch", "bool", "ones"),
        ("lengths", "int32", "zeros"),
        ("hidden", "float16", "normal"),
    ],
)
def test_fills_by_name_and_dtype(name: str, dtype: str, fill: str) -> None:
    (value,) = bind([spec(name, "batch", "seq", dtype=dtype)], batch=1, tokens=4)
    assert (value.fill, value.dtype) == (fill, dtype)


def test_dims_name_what_the_graph_calls_otherwise_and_win_over_usual_names() -> None:
    specs = [spec("input_ids", "batch", "s26"), spec("mask", "batch", "")]
    assert [value.shape for value in bind(specs, batch=1, tokens=None, dims={"s26": 9, "mask.1": 9})] == [(1, 9)] * 2
    (value,) = bind([spec("input_ids", "batch", "seq")], batch=1, tokens=8, dims={"batch": 4})
    assert value.shape == (4, 8)


@pytest.mark.parametrize(
    ("specs", "asked", "says"),
    [
        ([spec("x", "batch", "s26")], {"tokens": None}, ["dimension 1 of input 'x' [batch, s26]", "--dim 's26=SIZE'"]),
        ([spec("x", "batch", "")], {"tokens": None}, ["[batch, ?]", "--dim 'x.1=SIZE'"]),
        ([spec("input_ids", "batch", 128)], {"tokens": 512}, ["fixed at 128, and 512 is asked", "Ask for 128"]),
        ([spec("input_ids", 1, 128)], {"tokens": 128, "batch": 3}, ["Dimension 0", "fixed at 1, and 3 is asked"]),
        ([spec("attention_mask", "batch", 8), *BERT[:1]], {"tokens": 7}, ["fixed at 8, and 7 is asked"]),
        ([spec("pixel_values", 1, 3, 224, 224)], {"tokens": None, "dims": {"height": 384}}, ["fixed at 224", "384"]),
        ([spec("x", 4, 8)], {"tokens": 8, "batch": 1, "dims": {"x.1": 9}}, ["fixed at 8, and 9 is asked"]),
        (BERT, {"tokens": 1, "past_tokens": 5}, ["takes no KV cache", "--phase prefill"]),
        ([spec("x", "batch", 3)], {"tokens": 512}, ["usual name for tokens", "--dim NAME=512", "batch, x.1"]),
        ([spec("x", 1, "seq")], {"tokens": 5, "batch": 3}, ["usual name for batch", "--dim NAME=3"]),
        ([spec("x", "batch", "seq")], {"tokens": 512, "dims": {"seq": 64}}, []),
        ([spec("x", "batch")], {"tokens": None, "dims": {"batch": -1}}, ["cannot be -1"]),
        ([spec("x", "batch", dtype="object")], {"tokens": None}, ["type object", "--input x="]),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(
    specs: list[TensorSpec], asked: dict[str, object], says: list[str]
) -> None:
    with pytest.raises(UsageError) as refusal:
        bind(specs, **{"batch": 1, **asked})  # type: ignore[arg-type]
    for part in says:
        assert part in str(refusal.value)


def test_a_fixed_dimension_that_is_what_is_asked_for_is_fine() -> None:
    specs = [spec("input_ids", 1, 128), spec("attention_mask", 1, 128)]
    assert [value.shape for value in bind(specs, batch=1, tokens=128)] == [(1, 128)] * 2


def test_misspelt_dims_and_inputs_are_offered_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean sequence_length"):
        bind(BERT, batch=1, tokens=8, dims={"sequence_lenght": 8})
    with pytest.raises(UnknownName, match="Did you mean input_ids"):
        bind(BERT, batch=1, tokens=8, files={"input_id": Path("x.npy")})


def saved(path: Path, array: object) -> Path:
    np.save(path, np.asarray(array))
    return path


def test_a_file_gives_values_and_sizes_what_nothing_else_does(tmp_path: Path) -> None:
    file = saved(tmp_path / "ids.npy", np.arange(12).reshape(2, 6))
    specs = [spec("mask", "batch", "s7"), spec("ids", "batch", "s7")]
    mask, ids = bind(specs, batch=2, tokens=None, files={"ids": file})
    assert (mask.shape, mask.fill) == ((2, 6), "ones")
    assert (ids.shape, ids.fill, ids.file) == ((2, 6), "file", str(file))
    assert token_length((mask, ids)) == 6
    saved(file, np.zeros((2, 6), np.int64))
    assert bind(specs, batch=2, tokens=None, files={"ids": file})[1] != ids  # other contents are another request


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((1, 6), np.int32), "takes int64"),
        (np.zeros((1, 5), np.int64), r"shape \[1, 5\]"),
        (np.zeros((1, 6, 1), np.int64), r"shape \[1, 6, 1\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, array: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        bind(BERT, batch=1, tokens=6, files={"input_ids": saved(tmp_path / "ids.npy", array)})


def test_what_is_no_npy_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("1 2 3")
    np.savez(tmp_path / "many.npz", a=np.zeros(1))
    for name, says in [("text.npy", "Cannot read"), ("none.npy", "Cannot read"), ("many.npz", "several arrays")]:
        with pytest.raises(UsageError, match=says):
            bind(BERT, batch=1, tokens=6, files={"input_ids": tmp_path / name})


def test_a_length_that_is_not_given_is_asked_for_by_its_option() -> None:
    with pytest.raises(UsageError, match="Give it: --seq 512"):
        bind(BERT, batch=1, tokens=None)
    with pytest.raises(UsageError, match="Give it: --dim 'channels=SIZE'"):
        bind([spec("x", "batch", "channels")], batch=1, tokens=None)


def test_whether_a_token_length_can_be_chosen() -> None:
    assert takes_tokens(BERT)
    assert takes_tokens([spec("attention_mask", "batch", "")])  # by the name of the input
    assert not takes_tokens([spec("input_ids", "batch", 128), spec("pixels", "batch", 3)])
