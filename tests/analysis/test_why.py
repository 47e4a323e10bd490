"""Why B is or is not faster: records made by hand, with results computed by hand."""

from typing import Any

import msgspec
import pytest
from builders.operator_runs import matrix, operators, profiled
from factories import point

from edgeprof.analysis import operator_classes as table
from edgeprof.analysis.processor import describe
from edgeprof.analysis.why import sides, why
from edgeprof.schema import KernelTime, Left, Machine, OperatorPass, Point, Precision, QuantReceipt, Side, Turn, Why


def side(model: str, precision: str) -> Side:
    return Side(model=model, precision=Precision.parse(precision))


A, B = side("gpt2", "fp32"), side("gpt2", "int8")
MACHINE = Machine(
    machine_id="m",
    cpu="Some CPU",
    cpu_features=("avx2", "avx512bw", "avx512_vnni"),
    architecture="x86_64",
    cores_allowed=2,
    governor="unknown",
    memory_bytes=1,
    memory_limit_bytes=None,
    os="Linux",
    versions={},
)


def line(side: Side, seconds: dict[int, float], phase: str = "prefill", **fields: Any) -> list[Point]:
    where = {"variant": side.model, "precision": side.precision, "phase": phase, **fields}
    if phase == "decode":
        return [point(value, tokens=1, past_tokens=length, **where) for length, value in seconds.items()]
    return [point(value, tokens=length, **where) for length, value in seconds.items()]


def compared(a: dict[int, float], b: dict[int, float], *passes: OperatorPass, phase: str = "prefill") -> Why:
    (result,) = why(A, B, [*line(A, a, phase), *line(B, b, phase)], passes, MACHINE)
    return result


def operator_pass(side: Side, times: dict[str, tuple[int, float]], *matrices: Any, **fields: Any) -> OperatorPass:
    plain_s = fields.pop("plain_s", 0.0)
    return profiled(
        operators(times, *matrices, plain_s=plain_s), variant=side.model, precision=side.precision, **fields
    )


# --- who wins, and from where ----------------------------------------------------------------------------------


def test_b_wins_everywhere() -> None:
    result = compared({16: 0.2, 128: 0.9}, {16: 0.1, 128: 0.3})
    assert result.verdicts == ("Prefill: int8 is faster than fp32 at 16 to 128 tokens (2x to 3x as fast).",)
    assert [(place.length, place.speed) for place in result.places] == [(16, pytest.approx(2)), (128, pytest.approx(3))]
    assert result.turns == ()


def test_b_loses_everywhere() -> None:
    result = compared({16: 0.1}, {16: 0.4}, phase="decode")
    assert result.verdicts == ("Decode: int8 is slower than fp32 at 16 cached tokens (0.25x as fast).",)


def test_b_begins_to_lose_between_two_measured_lengths() -> None:
    result = compared({16: 0.2, 64: 0.4, 128: 0.8, 256: 1.0}, {16: 0.1, 64: 0.2, 128: 1.0, 256: 2.0})
    assert result.turns == (Turn(phase="prefill", below=64, above=128, winner="A"),)
    assert result.verdicts == (
        "Prefill: int8 is faster than fp32 at 16 to 64 tokens (2x as fast) and slower than fp32 at 128 to 256 tokens "
        "(0.5x to 0.8x as fast).",
    )


def test_b_begins_to_win_and_a_length_without_a_difference_lies_between() -> None:
    result = compared({16: 0.1, 64: 0.2, 128: 0.8}, {16: 0.2, 64: 0.2, 128: 0.4})
    assert result.turns == (Turn(phase="prefill", below=16, above=128, winner="B"),)
    assert result.verdicts == (
        "Prefill: int8 is slower than fp32 at 16 tokens (0.5x as fast), not clearly different at 64 tokens and faster "
        "than fp32 at 128 tokens (2x as fast).",
    )


def test_intervals_that_overlap_decide_nothing() -> None:
    """1 % up and down each: 0.100 and 0.101 overlap, 0.100 and 0.103 do not."""
    result = compared({16: 0.100, 64: 0.100}, {16: 0.101, 64: 0.1005})
    assert result.verdicts == (
        "Prefill: no clear difference between int8 and fp32 at 16 to 64 tokens: "
        "the interval of their ratio includes 1.",
    )
    assert result.turns == ()
    assert compared({16: 0.100}, {16: 0.103}).verdicts[0].startswith("Prefill: int8 is slower than fp32")


def test_what_is_compared_was_measured_alike() -> None:
    points = [*line(A, {16: 0.2, 32: 0.2}), *line(B, {16: 0.1, 64: 0.1}), *line(B, {16: 0.3}, batch=4)]
    (result,) = why(A, B, points, [], MACHINE)
    assert [(place.phase, place.length) for place in result.places] == [("prefill", 16)]
    assert (result.place.provider, result.batch, result.place.threads) == ("cpu", 1, 2)
    assert why(A, side("gpt2", "int4"), points, [], MACHINE) == []
    assert why(A, B, [*line(A, {16: 0.2}), *line(B, {16: None})], [], MACHINE) == []  # type: ignore[dict-item]


def test_each_setting_is_a_comparison_of_its_own() -> None:
    points = [p for n in (1, 2) for p in (*line(A, {16: 0.2}, threads=n), *line(B, {16: 0.1 * n}, threads=n))]
    assert [(one.place.threads, one.places[0].speed) for one in why(A, B, points, [], MACHINE)] == [
        (1, pytest.approx(2)),
        (2, pytest.approx(1)),
    ]


def test_pairs_are_fp32_against_each_other_precision_of_a_model() -> None:
    int4 = side("gpt2", "int4")
    lonely = side("bert-base", "int8")
    points = [p for side in (A, B, int4, lonely) for p in line(side, {16: 0.1})]
    assert sides(points) == [(A, B), (A, int4)]


# --- what it comes from ----------------------------------------------------------------------------------------


def test_every_operator_has_one_class() -> None:
    names = [operator for operators in table.CLASSES.values() for operator in operators]
    assert len(names) == len(set(names))
    assert {
        name: table.class_of(name)
        for name in ("DynamicQuantizeMatMul", "GroupQueryAttention", "Cast", "FastGelu", "Concat", "Add")
    } == {
        "DynamicQuantizeMatMul": "matmul",
        "GroupQueryAttention": "attention",
        "Cast": "quantize/dequantize/cast",
        "FastGelu": "normalization/activation",
        "Concat": "data movement",
        "Add": "other",
    }


def test_a_win_is_explained_by_the_class_that_gained_most() -> None:
    result = compared(
        {128: 0.5},
        {128: 0.2},
        operator_pass(A, {"Gemm": (48, 0.3), "MatMul": (1, 0.1), "Attention": (12, 0.05), "Concat": (30, 0.05)}),
        operator_pass(B, {"DynamicQuantizeMatMul": (49, 0.1), "Attention": (12, 0.06), "Concat": (30, 0.04)}),
    )
    assert result.verdicts == (
        "Prefill: int8 is faster than fp32 at 128 tokens (2.5x as fast), "
        "because the matmuls take 100 ms in int8 and 400 ms in fp32 at 128 tokens.",
    )
    assert [(one.name, one.a_s, one.b_s) for one in result.places[0].classes] == [
        ("matmul", 0.4, 0.1),
        ("attention", 0.05, 0.06),
        ("data movement", 0.05, 0.04),
    ]
    assert result.findings == (
        "Prefill of 128 tokens: the matmuls take 100 ms instead of 400 ms, 0.25x of the time: 300 ms gained.",
        "Prefill of 128 tokens: separate operators for quantizing and dequantizing take no time in int8; "
        "49 DynamicQuantizeMatMul quantize their own input, counted as matmul.",
        "Prefill of 128 tokens: all other operators take 100 ms in int8 (50 %) and 100 ms in fp32 (20 %), "
        "mostly attention.",
        "Prefill of 128 tokens: the operator times add up to 100 % of a run without the profiler in int8, and to 100 % "
        "in fp32.",
    )


def head_left() -> Why:
    """48 matmuls in int8; the LM head is dequantized, and multiplied in fp32."""
    where = {"phase": "decode", "tokens": 1, "past_tokens": 128, "vocabulary": 50_257}
    blocks = matrix("DynamicQuantizeMatMul", 768, 768, 0.004, nodes=48)
    head = matrix("MatMul", 768, 50_257, 0.008, second="computed")
    scores = matrix("MatMul", 64, 128, 0.5, second="activation", nodes=12)
    return compared(
        {128: 0.020},
        {128: 0.036},
        operator_pass(A, {"Gemm": (48, 0.012), "MatMul": (1, 0.006), "Concat": (30, 0.002)}, **where),
        operator_pass(
            B,
            {
                "DequantizeLinear": (1, 0.023),
                "MatMul": (1, 0.008),
                "DynamicQuantizeMatMul": (48, 0.003),
                "Add": (9, 0.001),
            },
            blocks,
            head,
            scores,
            **where,
        ),
        phase="decode",
    )


def test_an_lm_head_that_stays_in_fp32_is_named() -> None:
    result = head_left()
    assert result.verdicts == (
        "Decode: int8 is slower than fp32 at 128 cached tokens (0.56x as fast), because the weight of the LM head "
        "(768 x 50,257) is dequantized to fp32 in every run: DequantizeLinear takes 23 ms, the product "
        "8 ms, out of 35 ms of all operators at 128 cached tokens.",
    )
    assert (
        "Decode of 128 cached tokens: 1 of 49 weight matmuls of int8 still multiplies in fp32 and takes 8 ms: "
        "the LM head (768 x 50,257)."
    ) in result.findings
    assert (
        "Decode of 128 cached tokens: quantizing, dequantizing and casting take 23 ms (66 % of its operator "
        "time) in int8; 48 DynamicQuantizeMatMul quantize their own input, counted as matmul."
    ) in result.findings


def test_weights_that_are_stored_in_fp32_are_named_by_size() -> None:
    left = matrix("MatMul", 768, 3072, 0.1, nodes=12)
    result = compared(
        {128: 0.2},
        {128: 0.2},
        operator_pass(A, {"MatMul": (73, 0.2)}),
        operator_pass(
            B, {"MatMul": (12, 0.1), "MatMulNBits": (61, 0.1)}, left, matrix("MatMulNBits", 768, 768, 0.1, nodes=61)
        ),
    )
    assert result.findings[-1] == (
        "Prefill of 128 tokens: 12 of 73 weight matmuls of int8 still multiply in fp32 and take 100 ms: "
        "12 of 768 x 3,072."
    )


def test_a_receipt_tells_what_was_reached_and_why_the_rest_was_not() -> None:
    receipt = QuantReceipt(
        matmuls=49,
        matmuls_quantized=48,
        weight_bytes=4_000_000,
        weight_bytes_quantized=3_000_000,
        left=(Left(weight="head", bytes=1_000_000, reason="too small to gain"),),
    )
    passes = (operator_pass(A, {"MatMul": (49, 0.2)}), operator_pass(B, {"MatMul": (49, 0.2)}, quantization=receipt))
    assert compared({128: 0.2}, {128: 0.2}, *passes).findings[-1] == (
        "The export of gpt2 to int8 quantized 48 of 49 weight matmuls, 3 MB of 4 MB of their weights; "
        "1 not quantized: too small to gain."
    )


def test_a_file_that_is_fp32_by_most_of_its_bytes_may_be_quantized_too() -> None:
    """Of a plain file the precision is that of most bytes: a large embedding in fp32 hides matmuls in int8."""
    c = side("other", "fp32")
    int8, fp32 = matrix("DynamicQuantizeMatMul", 8, 8, 0.1, nodes=3), matrix("MatMul", 8, 24, 0.1)
    passes = [operator_pass(A, {"MatMul": (4, 0.2)}, fp32), operator_pass(c, {"MatMul": (4, 0.2)}, int8, fp32)]
    points = [*line(A, {128: 0.2}), *line(c, {128: 0.2})]
    (result,) = why(A, c, points, passes, MACHINE)
    assert result.findings[-1].startswith("Prefill of 128 tokens: 1 of 4 weight matmuls of other fp32 still multiplies")
    (turned,) = why(c, A, points, passes, MACHINE)
    assert not any("weight matmuls" in line for line in turned.findings)


def test_operators_that_say_the_opposite_explain_nothing() -> None:
    result = compared(
        {128: 0.2}, {128: 0.1}, operator_pass(A, {"MatMul": (1, 0.1)}), operator_pass(B, {"MatMul": (1, 0.2)})
    )
    assert result.verdicts[0].endswith("(2x as fast), and the operator times at 128 tokens do not show why.")


def test_disturbed_runs_are_reported() -> None:
    result = compared(
        {128: 0.2},
        {128: 0.1},
        operator_pass(A, {"MatMul": (1, 0.2)}, plain_s=0.4),
        operator_pass(B, {"MatMul": (1, 0.1)}),
    )
    assert result.places[0].a_explained == pytest.approx(0.5)
    assert result.findings[-1] == (
        "Prefill of 128 tokens: the operator times add up to 100 % of a run without the profiler in int8, and to 50 % "
        "in fp32: other work disturbed the runs, or time passes between operators."
    )


def test_of_several_passes_the_newest_good_one_counts() -> None:
    good = [operator_pass(side, {"MatMul": (1, seconds)}) for side, seconds in ((A, 0.9), (A, 0.2), (B, 0.1))]
    failed = profiled(None, variant="gpt2", precision="fp32")
    (one,) = compared({128: 0.2}, {128: 0.1}, *good, failed).places[0].classes
    assert (one.a_s, one.b_s) == (0.2, 0.1)


def test_without_operators_only_the_times_speak() -> None:
    assert compared({128: 0.2}, {128: 0.1}).findings == (
        "Prefill: operators were not timed, so where time goes is not shown.",
    )


# --- the processor ---------------------------------------------------------------------------------------------


def product(precision: Any, tokens: int, seconds: float | None, **fields: Any) -> KernelTime:
    plain = {"width": 2048, "threads": 2, "round": 0, "status": "ok", "machine_id": "m", "started_at": "now"}
    return KernelTime(precision=precision, tokens=tokens, median_s=seconds, **{**plain, **fields})


def machine(*features: str, architecture: str = "x86_64") -> Machine:
    return msgspec.structs.replace(MACHINE, cpu_features=features, architecture=architecture)


@pytest.mark.parametrize(
    ("features", "architecture", "has", "uses"),
    [
        (("avx2", "fma"), "x86_64", "AVX2; it lacks AMX int8, AVX-512 VNNI and AVX-VNNI", "AVX2 without dot products"),
        (
            ("avx2", "avx512bw", "avx512_vnni", "amx_int8"),
            "x86_64",
            "AMX int8, AVX-512 VNNI, AVX-512 and AVX2; it lacks AVX-VNNI",
            "AMX int8",
        ),
        (
            ("asimd", "asimddp"),
            "aarch64",
            "dot product instructions and Neon; it lacks i8mm",
            "dot product instructions",
        ),
        (("asimd", "asimddp", "i8mm"), "arm64", "i8mm, dot product instructions and Neon", "i8mm"),
    ],
)
def test_features_are_reported_and_their_use_is_called_inferred(
    features: tuple[str, ...], architecture: str, has: str, uses: str
) -> None:
    facts, inferred = describe(machine(*features, architecture=architecture), [], 2)
    assert facts == f"Some CPU has {has}."
    assert inferred == (
        "Inferred, not observed: by the rules of its kernel library, onnxruntime multiplies by signed int8 weights "
        f"with {uses} here."
    )


def test_a_system_that_tells_nothing() -> None:
    assert describe(machine(), [], 2) == ("The system does not report the int8 instructions of its processor.",)


def test_a_measured_product_supports_the_inference_or_does_not() -> None:
    """Medians of 3 rounds: fp32 4 ms, int8 1 ms at 128 rows; 6 and 2 at one."""
    slow = [product("fp32", 128, s) for s in (0.004, 0.004, 0.1)] + [product("int8", 128, s) for s in (0.001,) * 3]
    single = [product("fp32", 1, 0.006), product("int8", 1, 0.002)]
    other = [product("fp32", 128, 9.0, threads=1), product("int8", 128, 1.0, threads=1)]
    failed = [product("int8", 1, None, status="failed")]
    assert describe(MACHINE, [*slow, *single, *other, *failed], 2)[-1] == (
        "Measured: one product with 2048 x 2048 weights in int8 is 3x as fast at 1 token and 4x as fast "
        "at 128 tokens as in fp32, which suggests that AVX-512 VNNI is used."
    )
    little = [product("fp32", 128, 0.0012), product("int8", 128, 0.001)]
    assert describe(MACHINE, little, 2)[-1].endswith(
        "so little that AVX-512 VNNI may be unused, or the machine was busy."
    )
    assert "without dot product instructions int8 gains little" in describe(machine("avx2"), little, 2)[-1]
