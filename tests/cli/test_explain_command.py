"""What `edgeprof explain` prints, draws, and leaves alone."""

from pathlib import Path
from typing import Any

import pytest
from command import Command

HEAVY = ("torch", "transformers", "matplotlib", "scipy", "onnx", "onnxruntime", "numpy", "jinja2")


def imported(lines: list[str]) -> set[str]:
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if "import time" in line}


def test_formulas_import_nothing_heavy(edgeprof: Command) -> None:
    ran = edgeprof("explain", "gpt3", PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0
    assert "typer" in imported(ran.sentences)
    assert not imported(ran.sentences).intersection(HEAVY)


def test_a_graph_is_counted_without_torch_or_a_runtime(
    edgeprof: Command, artifacts: dict[tuple[str, str], Any]
) -> None:
    ran = edgeprof("explain", artifacts["bert", "fp32"].location, PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0
    heavy = imported(ran.sentences).intersection({*HEAVY, "onnx_ir", "onnxscript"})
    assert heavy == {"onnx", "numpy"}


def row(text: str, name: str) -> list[str]:
    return next(line.removeprefix(name).split("  ") for line in text.splitlines() if line.startswith(name))


def cells(text: str, name: str) -> list[str]:
    return [cell.strip() for cell in row(text, name) if cell.strip()]


def test_a_table_by_component(edgeprof: Command) -> None:
    out = edgeprof("explain", "gpt2", "--seq", 512).out
    assert out.startswith("gpt2: 124,439,808 parameters; prefill of 512 tokens, batch 1, fp32\n")
    assert cells(out, "token embedding") == ["1", "38.6M", "31.0 %", "154 MB", "1.57 MB", "0.3 %"]
    assert cells(out, "MLP up") == [
        *("12", "28.3M", "22.8 %", "14.5 GMAC", "21.3 %", "113 MB", "75.5 MB", "15.6 %"),
        "x2",
    ]
    assert cells(out, "attention scores") == ["12", "2.42 GMAC", "3.5 %", "151 MB", "31.1 %", "x4"]
    assert cells(out, "one block of 12")[:2] == ["7.09M", "5.7 %"]
    assert cells(out, "total")[:4] == ["124M", "100.0 %", "68.1 GMAC", "100.0 %"]
    assert "At 512 tokens: 498 MB weights + 37.7 MB KV cache + 104 MB live activations" in out
    assert "When the tokens double: parameters x1; MACs x2: Q, K, V projections, output projection" in out
    assert "MACs x4: attention scores, weighted sum of values" in out
    assert "From 3,073 tokens on, attention outweighs the MLP in MACs." in out
    assert "From 6,752 tokens on, the KV cache outweighs the weights in bytes." in out


def test_a_file_tells_what_a_runtime_will_hold(edgeprof: Command, artifacts: dict[tuple[str, str], Any]) -> None:
    out = edgeprof("explain", artifacts["gpt2", "int8"].location, "--seq", 60).out
    assert "prefill of 60 tokens, batch 1, int8" in out
    assert cells(out, "attention")[0] == "2"
    assert "the KV cache (123 kB) among them" in out  # 60 x 2 x 2 x 128 x 4
    assert "onnxruntime will hold about" in out


def test_json_states_the_sums_of_the_table(edgeprof: Command) -> None:
    """GPT-2: Radford et al. 2019; a block has 12 x 768^2 + 13 x 768 parameters, its cache 2 x 768 x 4 bytes a token."""
    result = edgeprof("explain", "gpt2", "--seq", "256,512", "--json").json
    totals, block = result["ledger"]["totals"], result["ledger"]["per_block"]
    assert totals["params"] == 124_439_808
    assert totals["cache_bytes"] == 12 * 2 * 768 * 4 * 512
    assert block["params"] == 12 * 768**2 + 13 * 768
    assert block["cache_bytes"] == 2 * 768 * 4 * 512
    for ledger in (result["ledger"], result["doubled"], *result["lengths"]):
        for quantity, total in ledger["totals"].items():
            assert total == sum(cost[quantity] for cost in ledger["costs"])
    assert [ledger["load"]["tokens"] for ledger in result["lengths"]] == [256, 512]


def test_one_token_is_one_token(edgeprof: Command) -> None:
    out = edgeprof("explain", "gpt2", "--seq", 1).out
    assert "prefill of 1 token, batch 1" in out
    assert "At 1 token: " in out


def test_json_is_the_record(edgeprof: Command) -> None:
    result = edgeprof("explain", "bert-base", "--json").json
    assert sum(cost["params"] for cost in result["ledger"]["costs"]) == 109_482_240
    assert result["crossovers"] == [{"larger": "attention", "smaller": "the MLP", "quantity": "MACs", "tokens": 3073}]


def test_several_lengths_are_drawn(edgeprof: Command, tmp_path: Path) -> None:
    ran = edgeprof("explain", "bert-tiny", "--seq", "16..4096")
    assert ran.code == 0
    assert "bert-tiny takes at most 512 tokens: beyond that the formulas still hold" in ran.out
    drawn = {Path(line).name for line in ran.out.splitlines() if line.startswith("reports")}
    assert {"explain-macs.png", "explain-memory.png", "explanation.md"} <= drawn
    assert all((tmp_path / line).is_file() for line in ran.out.splitlines() if line.startswith("reports"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["gpt2", "--seq", "0"], 2, "--seq takes whole numbers above zero"),
        (["gpt2", "--phase", "both"], 2, "--phase cannot be 'both'. Choose one of prefill, decode."),
        (["gpt2", "--batch", "0"], 2, "--batch"),
        (["gtp2"], 2, "Did you mean gpt2"),
        (["missing.onnx"], 1, "There is no file missing.onnx."),
        ([], 2, "TARGET"),
    ],
)
def test_wrong_usage(words: list[str], code: int, says: str, edgeprof: Command) -> None:
    ran = edgeprof("explain", *words)
    assert ran.code == code
    assert len(ran.sentences) == 1
    assert says in ran.sentences[0]
