"""Mixers through the command, as any other variant: exported, verified, profiled, and named by their sizes."""

from pathlib import Path

import pytest
from builders.records import flat
from command import Command

QUICK = ("--rounds", 1, "--max-time", 0, "--runs", 2, "--min-time", 0)
ANY_LENGTH = ("mixer-pointwise", "mixer-gram", "mixer-attention", "mixer-block")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose models/ holds all five."""
    from edgeprof import export

    folder = tmp_path_factory.mktemp("mixers")
    export(ANY_LENGTH, width=32, out=folder / "models")
    return folder


def test_export_verify_and_profile(exported: Path, edgeprof: Command) -> None:
    ran = edgeprof("export", "mixer-dense", "--width", 16, "--tokens", 8, at=exported)
    assert ran.code == 0, ran.err
    assert "mixer-dense-w16-t8 fp32: exported" in ran.out
    assert "16,384 parameters, random (seed 0) weights" in ran.out
    assert "verified against PyTorch at 1x8, 3x8: max difference" in ran.out
    assert "random weights:" not in ran.out  # they have no others, so there is nothing to explain
    checked = edgeprof("verify", at=exported)
    assert (checked.code, checked.out.count("agrees")) == (0, 5)
    points = map(flat, edgeprof("profile", "--seq", 8, *QUICK, "--json", at=exported).json["points"])
    assert {point["variant"]: (point["status"], point["tokens"], point["macs"]) for point in points} == {
        "mixer-dense-w16-t8": ("ok", 8, 128**2),
        "mixer-pointwise-w32": ("ok", 8, 8 * 32**2),
        "mixer-gram-w32": ("ok", 8, 2 * 8 * 8 * 32),
        "mixer-attention-w32": ("ok", 8, 3 * 8 * 32**2 + 2 * 8 * 8 * 32),
        "mixer-block-w32": ("ok", 8, 12 * 8 * 32**2 + 2 * 8 * 8 * 32),
    }
    refused = edgeprof("profile", "mixer-dense-w16-t8", "--seq", "8,16", at=exported)
    assert (refused.code, refused.sentences) == (
        2,
        [
            "edgeprof: mixer-dense-w16-t8 takes 8 tokens and no other number, but 16 are requested. "
            "Use --seq 8, or leave this model out."
        ],
    )


def test_heads_and_a_second_sequence(edgeprof: Command) -> None:
    words = ("export", "mixer-attention", "--width", 16, "--heads", 4, "--cross", 5)
    (export,) = edgeprof(*words, "--json").json
    artifact = export["artifact"]
    assert artifact["name"] == "mixer-attention-w16-h4-cross5"
    assert [spec["dims"][1] for spec in artifact["graphs"][0]["inputs"]] == ["sequence_length", "context_length"]
    (point,) = map(flat, edgeprof("profile", artifact["name"], "--seq", 9, *QUICK, "--json").json["points"])
    assert (point["status"], point["macs"]) == ("ok", (9 + 2 * 5) * 16**2 + 2 * 9 * 5 * 16)


USAGE = [
    ("export gpt2 --width 64", "gpt2 has no option --width. Models with it: mixer-dense, "),
    (
        "export mixer-gram mixer-block --heads 2 --keep-going",
        "mixer-gram has no option --heads. Models with it: mixer-attent",
    ),
    ("export mixer-block --width 10 --heads 3", "A width of 10 cannot be divided among 3 heads. Choose --heads that"),
    ("export mixer-attention --cross 0", "Invalid value for '--cross'"),
    ("export mixer-dense --tokens x", "Invalid value for '--tokens'"),
]


@pytest.mark.parametrize(("words", "sentence"), USAGE, ids=[words for words, _ in USAGE])
def test_a_wrong_request_exits_with_2(words: str, sentence: str, edgeprof: Command, tmp_path: Path) -> None:
    ran = edgeprof(*words.split())
    assert (ran.code, ran.out) == (2, "")
    (message,) = ran.sentences
    assert sentence in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["gpt3", "mixer-dense"])
def test_a_giant_is_refused_at_once_and_without_torch(name: str, edgeprof: Command, tmp_path: Path) -> None:
    ran = edgeprof("export", name, PYTHONPROFILEIMPORTTIME="1")
    assert (ran.code, ran.out) == (1, "")
    assert ran.sentences[-1].startswith(f"edgeprof: Exporting {name} needs about ")
    assert ran.sentences[-1].endswith(f"explain the model: edgeprof explain {name}")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.sentences[:-1]}
    assert "typer" in imported
    assert not imported & {"torch", "transformers", "onnx"}
    assert list(tmp_path.iterdir()) == []
