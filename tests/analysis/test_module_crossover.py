"""Attention against the MLP, on times made by hand."""

from builders import records

from edgeprof.analysis.module_crossover import sentences
from edgeprof.schema import ModuleTime, OperatorPass, Outcome


def profiled(length: int, attention_s: float, mlp_s: float) -> OperatorPass:
    return OperatorPass(
        key=records.key(tokens=length),
        settings_key="s",
        modules=(
            ModuleTime(module="attention scores", nodes=1, time_s=attention_s),
            ModuleTime(module="MLP", nodes=1, time_s=mlp_s),
        ),
        outcome=Outcome(status="failed", started_at="2026-03-01T12:00:00Z"),
    )


def test_between_two_lengths() -> None:
    # Attention grows with n^2, the MLP with n: 1 against 4 at 64 tokens, so that they meet at 4 x 64 = 256. Lengths
    # beside it: 0.5 at 128, 2 at 512.
    passes = [profiled(n, 1e-3 * (n / 64) ** 2, 4e-3 * n / 64) for n in (512, 64, 128)]
    assert list(sentences(passes)) == [
        "bert-base fp32, prefill: attention scores take longer than the MLP from 256 tokens on "
        "(between 128 and 512; measured 64 to 512 tokens)."
    ]


def test_not_in_the_range() -> None:
    assert list(sentences([profiled(64, 1e-3, 4e-3), profiled(128, 2e-3, 4e-3)])) == [
        "bert-base fp32, prefill: attention scores take less time than the MLP at 64 to 128 tokens (0.5x at 128); "
        "a crossover is not in the measured range."
    ]


def test_one_length_says_nothing() -> None:
    assert list(sentences([profiled(64, 1e-3, 4e-3)])) == []
