"""Sizes for every axis: whatever axes are called, from what is asked, what the file fixes, and what goes together."""

from typing import Any

import pytest

from edgeprof.errors import UnknownName, UnknownSizes, UsageError
from edgeprof.inputs import LoadRequest, Signature, Sizes, resolve, signature
from edgeprof.schema import Phase, TensorSpec


def spec(name: str, *dims: int | str, dtype: str = "int64") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims)


def past(*dims: int | str, name: str = "past_key_values.0.key") -> TensorSpec:
    return spec(name, *dims, dtype="float32")


def signature_of(*specs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> Signature:
    return signature(specs, outputs=outputs)


def sized(specs: Signature, length: int | None = None, batch: int | None = None, **more: Any) -> Sizes:
    phase: Phase = more.pop("phase", "prefill")
    return resolve(specs, LoadRequest(phase=phase, batch=batch, length=length), **more)


def counts(sizes: Sizes) -> tuple[int, int | None, int]:
    return sizes.batch, sizes.tokens, sizes.past_tokens


BERT = signature_of(*(spec(name, "batch_size", "sequence_length") for name in ("input_ids", "attention_mask")))
GPT2 = signature_of(
    spec("input_ids", "batch_size", "sequence_length"),
    spec("attention_mask", "batch_size", "past_sequence_length + sequence_length"),
    spec("position_ids", "batch_size", "sequence_length"),
    past("batch_size", 12, "past_sequence_length", 64),
)


def test_an_encoder() -> None:
    sizes = sized(BERT, 7, batch=3)
    assert sizes.shapes == {"input_ids": (3, 7), "attention_mask": (3, 7)}
    assert counts(sizes) == (3, 7, 0)


def test_answers_to_choose_from() -> None:
    names = ("input_ids", "attention_mask", "token_type_ids")
    sizes = sized(signature_of(*(spec(name, "batch_size", 4, "sequence_length") for name in names)), 16, batch=2)
    assert set(sizes.shapes.values()) == {(2, 4, 16)}


def test_a_decoder_with_and_without_a_past() -> None:
    sizes = sized(GPT2, 128, batch=2, phase="decode")
    assert list(sizes.shapes.values()) == [(2, 1), (2, 129), (2, 1), (2, 12, 128, 64)]
    assert counts(sizes) == (2, 1, 128)
    sizes = sized(GPT2, 16)
    assert list(sizes.shapes.values()) == [(1, 16), (1, 16), (1, 16), (1, 12, 0, 64)]
    assert counts(sizes) == (1, 16, 0)


@pytest.mark.parametrize(
    ("batch", "tokens"),
    [("s77", "s27"), ("N", "M"), ("unk__12", "unk__13"), ("", ""), ("a", "sequence_len"), ("?", "-")],
)
def test_axes_of_inputs_with_a_known_name_may_be_called_anything(batch: str, tokens: str) -> None:
    encoder = signature_of(*(spec(name, batch, tokens) for name in ("input_ids", "attention_mask", "token_type_ids")))
    sizes = sized(encoder, 32, batch=2)
    assert set(sizes.shapes.values()) == {(2, 32)}
    assert counts(sizes) == (2, 32, 0)


@pytest.mark.parametrize(
    "name",
    [
        "input_ids:0",
        "serving_default_input_ids:0",
        "model/input_ids:0",
        "tokens",
        "input_ids.1",
        "input_word_ids",
        "src",
    ],
)
def test_token_ids_by_many_names(name: str) -> None:
    assert counts(sized(signature_of(spec(name, "", "", dtype="int32")), 32)) == (1, 32, 0)


@pytest.mark.parametrize(
    ("name", "dims", "axis"),
    [
        ("past_key_values.0.key", ("b", 4, "p", 16), 2),
        ("past.3.value", ("b", "p", 4, 16), 1),  # another layout: the only dynamic axis beside the batch
        ("past_key_0_in", (1, 4, "cached", 16), 2),
        ("past_0", (2, "b", 4, "past_seq_len", 16), 3),  # keys and values in one tensor
        ("k_cache_0", ("b", 4, "", 16), 2),
        ("layer0/kv_cache", ("b", 2, "t", 64), 2),
    ],
)
def test_caches_by_many_names(name: str, dims: tuple[int | str, ...], axis: int) -> None:
    decoder = signature_of(spec("input_ids", "b", "s"), past(*dims, name=name))
    assert sized(decoder, 9).shapes[name][axis] == 0
    sizes = sized(decoder, 9, phase="decode")
    assert sizes.shapes[name][axis] == 9
    assert counts(sizes) == (1, 1, 9)


def test_the_axis_along_which_a_fixed_cache_grows_is_the_one_that_is_longer_in_an_output() -> None:
    grown = (spec("present.0.key", 1, 8, 4, 16, dtype="float32"),)
    step = signature_of(spec("input_ids", 1, 1), past(1, 7, 4, 16), outputs=grown)
    assert step.past[0].axes == ("batch", "past", "", "")
    assert counts(sized(step, phase="decode")) == (1, 1, 7)


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (("batch", "seq"), (2, 5)),
        (("N", "L"), (2, 5)),  # a leading N is the batch, as in NCHW ...
        (("B", "N"), (2, 5)),  # ... any other one counts tokens
        (("text_batch_size", "tgt_len"), (2, 5)),
        (("batch_size", "total_sequence_length"), (2, 5)),
        (("batch", "src_len"), (2, 5)),
        (("batch", "time"), (2, 5)),
        (("image_batch_size", "num_samples"), (2, 5)),
        (("batch", "floor(seq/2) + 1"), (2, 3)),
        (("batch", "2*seq"), (2, 10)),
        (("s77", "seq"), (2, 5)),  # nothing is known of a leading axis: it is the batch
    ],
)
def test_usual_symbols_of_inputs_without_a_known_name(dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
    assert sized(signature_of(spec("other", *dims, dtype="float32")), 5, batch=2).shapes["other"] == shape


def test_a_symbol_has_one_size_wherever_it_stands() -> None:
    """args_1 is no name that anybody knows: its axes are those of the ids."""
    model = signature_of(spec("input_ids", "unk__12", "unk__13"), spec("args_1:0", "unk__12", "unk__13", dtype="int32"))
    assert sized(model, 32, batch=3).shapes["args_1:0"] == (3, 32)


def test_an_encoder_beside_a_decoder_has_a_length_of_its_own() -> None:
    t5 = signature_of(
        spec("input_ids", "batch", "src_len"),
        spec("attention_mask", "batch", "src_len"),
        spec("decoder_input_ids", "batch", "tgt_len"),
    )
    assert sized(t5, 16).shapes == {"input_ids": (1, 16), "attention_mask": (1, 16), "decoder_input_ids": (1, 16)}
    assert sized(t5, 16, dims={"src_len": 40}).shapes["attention_mask"] == (1, 40)
    assert counts(sized(t5, 16, dims={"src_len": 40})) == (1, 16, 0)
    cross = signature_of(
        spec("input_ids", "b", 1),
        spec("encoder_hidden_states", "b", "encoder_sequence_length", 64, dtype="float32"),
        past("b", 8, "past_len", 64),
        past("b", 8, "enc", 64, name="past_key_values.0.encoder.key"),
    )
    sizes = sized(cross, 7, phase="decode", dims={"enc": 30, "encoder_sequence_length": 30})
    assert list(sizes.shapes.values()) == [(1, 1), (1, 30, 64), (1, 8, 7, 64), (1, 8, 30, 64)]


def test_dims_win_and_what_runs_is_what_is_counted() -> None:
    named = signature_of(spec("input_ids", "N", "M"), spec("attention_mask", "N", "M"))
    assert counts(sized(named, dims={"N": 2, "M": 32})) == (2, 32, 0)
    unnamed = signature_of(spec("input_ids", "batch", ""), spec("mask", "batch", ""))
    assert sized(unnamed, dims={"input_ids.1": 9}).shapes == {"input_ids": (1, 9), "mask": (1, 9)}
    rows = signature_of(spec("x", "", 3, dtype="float32"))
    assert counts(sized(rows)) == (1, None, 0)
    assert sized(rows, dims={"x.0": 5}).shapes == {"x": (5, 3)}
    assert sized(rows, dims={"x.0": 0}).shapes == {"x": (0, 3)}


def test_a_part_of_a_sum_is_named_by_its_own_name() -> None:
    step = signature_of(spec("input_ids", "b", 1), spec("attention_mask", "b", "past + 1"), past("b", 4, "past", 16))
    assert sized(step, dims={"past": 6}, phase="decode").shapes["attention_mask"] == (1, 7)
    assert counts(sized(step, dims={"past": 6}, phase="decode")) == (1, 1, 6)


# --- what a file fixes -----------------------------------------------------------------------------------


def test_a_file_with_fixed_sizes_is_accepted_as_it_is() -> None:
    assert counts(sized(signature_of(spec("input_ids", 4, 128)))) == (4, 128, 0)
    assert counts(sized(signature_of(spec("input_ids", 4, 128)), 128, batch=4)) == (4, 128, 0)
    whisper = signature_of(spec("input_features", "batch_size", 80, 3000, dtype="float32"))
    assert counts(sized(whisper)) == (1, None, 0)  # frames are no tokens
    assert counts(sized(signature_of(spec("pixel_values", 1, 3, 224, 224, dtype="float32")))) == (1, None, 0)


@pytest.mark.parametrize(("cache", "mask", "held", "slots"), [(33, 33, 32, 33), (7, 8, 7, 0)])
def test_a_step_with_a_cache_of_fixed_size(cache: int, mask: int, held: int, slots: int) -> None:
    """A mask as long as the cache tells which slots are filled, the new token's among them; a longer one grows."""
    step = signature_of(spec("input_ids", 1, 1), spec("attention_mask", 1, mask), past(1, 4, cache, 16))
    assert step.slots == slots
    sizes = sized(step, phase="decode")
    assert counts(sizes) == (1, 1, held)
    assert sizes.shapes["past_key_values.0.key"] == (1, 4, cache, 16)
    assert sized(step, held, phase="decode") == sizes
    with pytest.raises(UsageError, match=str(held)):
        sized(step, 16, phase="decode")


def test_a_decode_step_is_distinguished_from_a_decoder() -> None:
    assert GPT2.step_only is None
    one_token = signature_of(spec("input_ids", "b", 1), past("b", 4, "p", 16)).step_only
    assert one_token is not None
    assert one_token.name == "input_ids"
    static = signature_of(spec("input_ids", "b", "s"), past(1, 4, 7, 16)).step_only
    assert static is not None
    assert static.name == "past_key_values.0.key"
    assert BERT.step_only is None


def test_whether_a_token_length_can_be_chosen() -> None:
    assert BERT.sized_by_length
    assert signature_of(spec("attention_mask", "batch", "")).sized_by_length  # by the name of the input
    assert not signature_of(spec("input_ids", "batch", 128), spec("x", "batch", 3)).sized_by_length


# --- what is refused -------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Signature, dict[str, Any], list[str]]] = {
    "a fixed length": (
        signature_of(spec("input_ids", "b", 128)),
        {"length": 512},
        ["fixed at 128", "512 is requested", "Request 128"],
    ),
    "a fixed batch": (
        signature_of(spec("input_ids", 4, 128)),
        {"batch": 3},
        ["axis 0", "fixed at 4", "3 is requested"],
    ),
    "fixed frames": (
        signature_of(spec("input_features", "b", 80, 3000, dtype="float32")),
        {"length": 512},
        ["input_features", "fixed at 3000"],
    ),
    "a mask of another length": (
        signature_of(spec("attention_mask", "b", 8), spec("input_ids", "b", "s")),
        {"length": 7},
        ["attention_mask", "fixed at 8", "7 is requested"],
    ),
    "a fixed axis by name": (signature_of(spec("x", 4, 8)), {"dims": {"x.1": 9}}, ["fixed at 8", "9 is requested"]),
    "decode without a cache": (BERT, {"length": 5, "phase": "decode"}, ["takes no KV cache", "--phase prefill"]),
    "prefill of a step": (
        signature_of(spec("input_ids", "b", 1), past("b", 4, "p", 16)),
        {"length": 5},
        ["one step of decode", "'input_ids' takes 1", "--phase decode"],
    ),
    "no tokens": (
        signature_of(spec("x", "rows", 3, dtype="float32")),
        {"length": 512},
        ["a token length", "Leave --seq out", "rows"],
    ),
    "no batch": (
        signature_of(spec("x", 1, "seq", dtype="float32")),
        {"length": 5, "batch": 3},
        ["a batch size", "Leave --batch out"],
    ),
    "two lengths": (
        signature_of(spec("input_ids", "b", "M")),
        {"length": 512, "dims": {"M": 64}},
        ["--dim makes axis 1 of input 'input_ids' 64", "--seq 512", "Leave --seq out"],
    ),
    "a negative size": (signature_of(spec("x", "batch")), {"dims": {"batch": -1}}, ["cannot be -1"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_with_the_way_out(name: str) -> None:
    model, requested, says = REFUSED[name]
    with pytest.raises(UsageError) as refusal:
        sized(model, **requested)
    for part in says:
        assert part.casefold() in str(refusal.value).casefold()


def test_all_unknown_sizes_are_reported_at_once_with_options_that_work() -> None:
    model = signature_of(spec("x", "b", "channels", "", dtype="float32"), spec("y", "b", "rows * 2", dtype="float32"))
    with pytest.raises(UnknownSizes) as refusal:
        sized(model)
    for part in ("axis 1 of input 'x'", "axis 2 of input 'x'", "axis 1 of input 'y'"):
        assert part in refusal.value.what
    names = [value.partition("=")[0] for _, value in refusal.value.options]
    assert names == ["channels", "x.2", "rows"]
    summary = {name: int(size) for _, value in refusal.value.options for name, _, size in [value.partition("=")]}
    assert sized(model, dims=summary).shapes == {"x": (1, 16, 16), "y": (1, 32)}


def test_a_missing_length_is_requested_once_by_its_option() -> None:
    with pytest.raises(UnknownSizes) as refusal:
        sized(GPT2)
    assert refusal.value.options == (("--seq", "512"),)
    both = signature_of(spec("input_ids", "a", "b"), spec("other", "a", "b", "c", dtype="float32"))
    with pytest.raises(UnknownSizes) as refusal:
        sized(both)
    assert [option for option, _ in refusal.value.options] == ["--seq", "--dim"]


def test_a_misspelt_dim_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean sequence_length"):
        sized(BERT, 8, dims={"sequence_lenght": 8})


def test_an_array_sizes_what_nothing_else_does() -> None:
    model = signature_of(spec("mask", "batch", "s7"), spec("ids", "batch", "s7"))
    sizes = sized(model, arrays={"ids": (2, 6)})
    assert sizes.shapes == {"mask": (2, 6), "ids": (2, 6)}
    assert counts(sizes) == (2, 6, 0)
    for shape, requested in [((2, 5), {"length": 6}), ((2, 6, 1), {}), ((3, 6), {"batch": 2})]:
        with pytest.raises(UsageError, match=r"holds an array of shape"):
            sized(model, arrays={"ids": shape}, **requested)
