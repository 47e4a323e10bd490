"""`explain` of files as people have them: parameters and MACs that were worked out by hand.

Per sequence, with n new tokens after p cached ones, the encoder takes 49,152 n + 128 n^2 MACs, the decoder
61,952 n + 128 n (n + p), the Llama-style one 74,240 n + 128 n (n + p).
"""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edgeprof import explain
from edgeprof.errors import ModelFileError, UsageError


class Right(NamedTuple):
    params: int
    macs: int
    tokens: int | None
    past: int = 0
    batch: int = 1
    precision: str = "fp32"


AT_32: dict[str, Any] = {"seq": [32]}
DECODE_32: dict[str, Any] = {"seq": [32], "phase": "decode"}
ENCODER = Right(62_912, 1_703_936, 32)
IDS = Right(6_016, 131_072, 32)
DECODER, STEP = Right(75_712, 2_113_536, 32), Right(75_712, 66_176, 1, 32)

CASES: list[tuple[str, dict[str, Any], Right]] = [
    ("enc_s", AT_32, ENCODER),
    ("enc_s", {"dim": {"s27": 32}}, ENCODER),
    ("enc_NM", AT_32, ENCODER),
    ("enc_NM", {"dim": {"N": 1, "M": 32}}, ENCODER),
    ("enc_unk", AT_32, ENCODER),
    ("enc_unk", {"dim": {"unk__12": 1, "unk__13": 32}}, ENCODER),
    ("enc_unnamed", AT_32, ENCODER),
    ("ids_named", {}, Right(6_016, 512 * 4_096, 512)),
    ("ids_named", AT_32, IDS),
    ("ids_none", AT_32, IDS),
    ("ids_b4", {}, Right(6_016, 2_097_152, 128, batch=4)),
    ("minus1", {}, Right(12, 12, None)),
    ("minus1", {"dim": {"x.0": 5}}, Right(12, 60, None, batch=5)),
    ("minus1_ids", AT_32, IDS),
    ("torch_static", {}, Right(62_912, 1_638_400, 16, batch=2)),
    ("pos64", {"seq": [64]}, Right(67_008, 3_670_016, 64)),
    ("pos64", {}, Right(67_008, 3_670_016, 64)),
    ("length_floor", AT_32, Right(14_024, 82_944, 32)),
    ("tf_op11", {}, Right(67_072, 1_835_008, 32)),
    ("whisper_fixed", {}, Right(173_888, 426_240_000, 1_500)),
    ("dec_torch_s", AT_32, DECODER),
    ("dec_torch_s", DECODE_32, STEP),
    ("dec_nested", DECODE_32, STEP),
    ("dec_nested", AT_32, STEP),
    ("with_past", DECODE_32, Right(83_904, 66_176, 1, 32)),
    ("past_seq", AT_32, DECODER),
    ("past_seq", DECODE_32, STEP),
    ("static_past", {}, Right(75_712, 62_976, 1, 7)),
    ("packedpast", AT_32, DECODER),
    ("packedpast", DECODE_32, STEP),
    ("merged", AT_32, Right(74_752, 2_113_536, 32)),
    ("merged", DECODE_32, Right(74_752, 66_176, 1, 32)),
    ("gqa", AT_32, Right(89_280, 2_506_752, 32)),
    ("gqa", DECODE_32, Right(89_280, 78_464, 1, 32)),
    ("gqa_nbits", AT_32, Right(89_280, 2_506_752, 32, precision="int4")),
    ("gqa_nbits", DECODE_32, Right(89_280, 78_464, 1, 32, precision="int4")),
    ("constants", AT_32, ENCODER),
    ("weights_as_inputs", {}, Right(4_096, 4_096, None)),
    ("via_reshape", {}, Right(8_192, 8_192, None)),
    ("zero_of_zero", {}, Right(148_608, 188_928, None)),
    ("qdq_int8", AT_32, Right(45_568, 1_048_576, 32, precision="int8")),
    ("dq_int4_axis0", AT_32, Right(45_568, 1_048_576, 32, precision="int4")),
    ("localfn", AT_32, Right(45_888, 1_048_576, 32)),
    ("einsum", AT_32, Right(8_192, 262_144, 32)),
    ("moe3d", AT_32, Right(32_768, 1_048_576, 32)),
    ("cnn", {}, Right(13_824, 2_230_272, None)),
    ("aionnx", {}, Right(2_048, 2_048, None)),
    ("ort_opt_ln", AT_32, Right(4_224, 131_072, 32)),
    ("gn18", {}, Right(36, 8_192, None)),
    ("gn21", {}, Right(48, 8_192, None)),
    ("fp16_attention", AT_32, Right(16_576, 655_360, 32, precision="fp16")),
    ("pooler", AT_32, Right(4_096, 4_096, 32)),
    ("last_token", AT_32, Right(12_800, 12_800, 32)),
    ("nokernel2", {}, Right(108, 3_888, None, precision="bf16")),
    ("mask_zeros", AT_32, Right(20_992, 135_168, 32)),
    ("bf16_input", {}, Right(0, 0, None)),
    ("fp8_input", {}, Right(0, 0, None)),
    ("int4_input", {}, Right(0, 0, None)),
    ("string_input", {}, Right(0, 0, None)),
    ("string_in", AT_32, Right(16_896, 131_072, 32)),
    ("seq_out", AT_32, Right(16_896, 131_072, 32)),
    ("zipmap", {}, Right(12, 12, None)),
    ("dup/a/model", AT_32, Right(4_096, 131_072, 32)),
    ("dup/b/model", AT_32, Right(8_192, 262_144, 32)),
]


@pytest.mark.parametrize(("name", "options", "right"), CASES, ids=[f"{name}-{at}" for name, at, _ in CASES])
def test_parameters_and_macs(name: str, options: dict[str, Any], right: Right, cases: Path) -> None:
    ledger = explain(str(cases / f"{name}.onnx"), **options).ledger
    assert not ledger.uncounted
    load, precision = ledger.load, str(ledger.precision)
    totals = (ledger.total("params"), ledger.total("macs"))
    result = Right(*totals, load.tokens, load.past_tokens, load.batch, precision)
    assert result == right


CACHES = {"dec_torch_s": 16_896, "past_seq": 16_896, "packedpast": 16_896, "gqa": 8_448, "gqa_nbits": 8_448}
"""Bytes of 33 tokens: 512 a token, of the Llama-style decoder 256."""


@pytest.mark.parametrize("name", CACHES)
def test_the_cache_after_a_step(name: str, cases: Path) -> None:
    assert explain(str(cases / f"{name}.onnx"), **DECODE_32).ledger.total("cache_bytes") == CACHES[name]


def test_a_length_at_which_the_graph_does_not_run_is_not_presented_as_one(cases: Path) -> None:
    result = explain(str(cases / "pos64.onnx"))
    assert result.ledger.load.tokens == 64
    assert result.doubled is None
    assert any("does not run at 512 tokens" in note and "64 rows" in note for note in result.notes)
    requested = explain(str(cases / "pos64.onnx"), seq=[65])
    assert any("does not run at 65 tokens" in note for note in requested.notes)


def test_macs_that_do_not_grow(cases: Path) -> None:
    result = explain(str(cases / "last_token.onnx"), seq=[16, 32, 64])
    assert [ledger.total("macs") for ledger in result.lengths] == [12_800] * 3


REFUSED = [
    ("ids_b4", {"seq": [64]}, UsageError, "fixed at 128"),
    ("tf_op11", {"seq": [64]}, UsageError, "fixed at 32"),
    ("whisper_fixed", {"seq": [512]}, UsageError, "input_features.* fixed at 3000"),
    ("static_past", {"seq": [32]}, UsageError, "fixed at 7"),
    ("dec_nested", {"seq": [32], "phase": "prefill"}, UsageError, "input_ids"),
    ("enc_s", DECODE_32, UsageError, "takes no KV cache"),
    ("lfs", {}, ModelFileError, "Git LFS pointer.*git lfs pull"),
]


@pytest.mark.parametrize(("name", "options", "kind", "says"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_what_is_refused(name: str, options: dict[str, Any], kind: type[Exception], says: str, cases: Path) -> None:
    with pytest.raises(kind, match=says):
        explain(str(cases / f"{name}.onnx"), **options)


def test_a_custom_operator_is_named_and_no_total_is_presented(cases: Path) -> None:
    ledger = explain(str(cases / "customop.onnx")).ledger
    assert ledger.total("params") == 16_896
    assert "ai.onnx.contrib::SentencepieceTokenizer" in {one.operator for one in ledger.uncounted}
    assert any(one.operator == "MatMul" for one in ledger.uncounted)  # its rows are the tokens
