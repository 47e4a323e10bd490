"""More files as people have them, through every command; numbers were worked out by hand, of `layers.py`'s parts."""

from pathlib import Path
from typing import Any

import make_cases
import more_cases
import pytest
from test_explain_cases import AT_32, DECODE_32, DECODER, Right

from edgeprof import explain, profile, quantize, verify, why
from edgeprof.errors import ModelFileError, RunError, UnknownSizes, UsageError


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("more")
    make_cases.write(vars(more_cases), folder)
    return folder


IMAGE = {"height": 224, "width": 224}
CASES: list[tuple[str, dict[str, Any], Right]] = [
    # 32 tokens look at 32 states: two matrices each, two products of 32 x 32 x 64, an LM head
    ("whisper_dec", AT_32, Right(42_240, 4 * 4_096 * 32 + 128 * 32 * 32 + 12_800 * 32, 32)),
    # a block after 32 tokens, then two matrices and attention over 32 states, an LM head
    ("t5_past", DECODE_32, Right(83_904, 49_152 + 128 * 33 + 8_192 + 128 * 32 + 12_800, 1, 32)),
    # 196 patches of 16 x 16 x 3
    ("vit_dynamic", {"dim": IMAGE}, Right(99_328, 196 * 49_152 + 196 * 49_152 + 128 * 196**2, 196)),
    # the encoder, 49 patches of 32 x 32 x 3 and a block over them, one product of the two
    ("clip", {**AT_32, "dim": IMAGE}, Right(309_696, 1_703_936 + 49 * (196_608 + 49_152) + 128 * 49**2 + 64, 32)),
    ("shared_buffer", AT_32, Right(33_792, 32 * 20_992 + 128 * 32**2, 32)),
    ("shared_buffer", {}, Right(33_792, 63 * 20_992 + 128 * 63**2, 63)),
    ("shared_buffer", DECODE_32, Right(33_792, 20_992 + 128 * 33, 1, 32)),
    ("shared_buffer", {"phase": "decode"}, Right(33_792, 20_992 + 128 * 64, 1, 63)),
    ("bloom", {**DECODE_32, "dim": {"batch_size x num_heads": 4}}, Right(75_712, 66_176, 1, 32)),
    ("xlnet", AT_32, Right(37_888, 32 * 3 * 4_096 + 128 * 32**2 + 32 * 12_800, 32)),
    ("xlnet", DECODE_32, Right(37_888, 4_096 + 33 * 8_192 + 128 * 33 + 12_800, 1, 32)),
    ("time_major", AT_32, Right(25_088, 32 * 3 * 4_096 + 128 * 32**2, 32)),
    ("positions_3d", AT_32, Right(83_904, DECODER.macs, 32)),
    ("zero_past", {}, Right(75_712, 8 * 61_952 + 128 * 8**2, 8)),
    ("einsum3", AT_32, Right(1_024, 32 * (64 * 8 + 8 * 64), 32)),
    ("chain", {}, Right(16_384, 16_384, None, precision="fp16")),
    ("sparse", {}, Right(8, 4_096, None)),
    ("no_inputs", {}, Right(4_352, 4 * 4_096, None)),
]


@pytest.mark.parametrize(("name", "options", "right"), CASES, ids=[f"{name}-{at}" for name, at, _ in CASES])
def test_parameters_and_macs(name: str, options: dict[str, Any], right: Right, more: Path) -> None:
    ledger = explain(str(more / f"{name}.onnx"), **options).ledger
    assert not ledger.uncounted
    load, precision = ledger.load, str(ledger.precision)
    totals = (ledger.total("params"), ledger.total("macs"))
    result = Right(*totals, load.tokens, load.past_tokens, load.batch, precision)
    assert result == right


def test_a_cache_of_fixed_size_takes_its_room_however_many_tokens_it_holds(more: Path) -> None:
    for options in (AT_32, DECODE_32):  # two tensors of 2 x 64 x 16 values
        assert explain(str(more / "shared_buffer.onnx"), **options).ledger.total("cache_bytes") == 16_384


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("shared_buffer", {"seq": [64], "phase": "decode"}, "room for 64 tokens, but 65 are requested.*at most --seq 63"),
    ("shared_buffer", {"seq": [65]}, "room for 64 tokens, but 65 are requested.*at most --seq 64"),
    ("zero_past", {"phase": "decode"}, "takes 8 new tokens at once in input 'input_ids'.*--phase prefill"),
]


@pytest.mark.parametrize(("name", "options", "says"), REFUSED)
def test_what_is_refused(name: str, options: dict[str, Any], says: str, more: Path) -> None:
    with pytest.raises(UsageError, match=says):
        explain(str(more / f"{name}.onnx"), **options)


def test_channels_and_heads_are_known_or_requested(more: Path) -> None:
    """A convolution tells how many channels it takes; nothing tells how many heads a cache has."""
    with pytest.raises(UnknownSizes) as unknown:
        explain(str(more / "vit_dynamic.onnx"))
    assert unknown.value.options == (("--dim", "height=224"), ("--dim", "width=224"))
    with pytest.raises(UnknownSizes, match="batch_size x num_heads"):
        explain(str(more / "bloom.onnx"), **DECODE_32)


QUICK: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0.01}


def test_what_was_counted_is_what_runs(more: Path, tmp_path: Path) -> None:
    names = ["shared_buffer", "zero_past", "no_inputs"]
    measured = profile([str(more / f"{name}.onnx") for name in names[:1]], seq=[32], out=tmp_path, name="a", **QUICK)
    fixed = profile([str(more / f"{name}.onnx") for name in names[1:]], out=tmp_path, name="b", **QUICK)
    result = [
        (one.subject.model, one.load.phase, one.load.tokens, one.load.past_tokens, one.facts.macs, one.status)
        for run in (measured, fixed)
        for one in run.points
    ]
    assert result == [
        ("shared_buffer", "prefill", 32, 0, 802_816, "ok"),
        ("shared_buffer", "decode", 1, 32, 25_216, "ok"),
        ("no_inputs", "prefill", None, 0, 16_384, "ok"),
        ("zero_past", "prefill", 8, 0, 503_808, "ok"),
    ]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("positions_3d", [(1, 16, 0), (2, 5, 0), (1, 1, 7)]),  # not where the table of positions ends
        ("chain", [(1, 0, 0), (2, 0, 0)]),
        ("sparse", [(1, 0, 0), (2, 0, 0)]),
        ("sequence", [(1, 1, 0), (1, 2, 0)]),
    ],
)
def test_quantized_where_the_source_runs(
    name: str, shapes: list[tuple[int, int, int]], more: Path, tmp_path: Path
) -> None:
    (built,) = quantize([str(more / f"{name}.onnx")], recipe=["int8"], models=tmp_path)
    assert built.artifact is not None
    assert built.artifact.graph().quantization is not None
    assert built.artifact.graph().quantization.matmuls_quantized == built.artifact.graph().quantization.matmuls
    assert [(one.case.batch, one.case.tokens, one.case.past_tokens) for one in built.artifact.checks] == shapes
    assert all(one.cosine > 0.99 for one in built.artifact.checks)


def test_what_is_no_number_in_the_source_is_no_difference(more: Path) -> None:
    for name in ("nan_output", "sequence"):
        (checked,) = verify([str(more / f"{name}.onnx")])
        assert [one.max_abs_error for one in checked.checks] == [0]


def test_a_graph_without_inputs_is_held_against_nothing(more: Path, tmp_path: Path) -> None:
    for hold in (lambda file: verify([file]), lambda file: quantize([file], models=tmp_path)):
        with pytest.raises(ModelFileError, match=r"has no inputs.*Explain or profile it"):
            hold(str(more / "no_inputs.onnx"))


def test_samples_with_an_empty_cache_of_any_name(more: Path, tmp_path: Path) -> None:
    (built,) = quantize([str(more / "xlnet.onnx")], recipe=["a16w8"], calibration="random", samples=3, models=tmp_path)
    assert built.artifact is not None
    assert built.artifact.graph().quantization is not None
    assert built.artifact.graph().quantization.matmuls_quantized == 4


def test_a_sequence_is_no_sample(more: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'xs' is a sequence.*int8, int4, fp16 or bf16"):
        quantize([str(more / "sequence.onnx")], recipe=["a8w8"], calibration="random", samples=3, models=tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_are_compared_at_a_common_size_or_their_sizes_are_reported(more: Path, tmp_path: Path) -> None:
    files = {name: str(more / f"{name}.onnx") for name in ("no_inputs", "zero_past")}
    (compared,) = why(files["no_inputs"], str(more / "chain.onnx"), out=tmp_path, **QUICK)
    assert "at their own size" in compared.verdicts[0]
    with pytest.raises(RunError, match="Tokens: no_inputs fp32 at unknown and zero_past fp32 at 8"):
        why(files["no_inputs"], files["zero_past"], out=tmp_path, **QUICK)
