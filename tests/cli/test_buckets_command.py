"""`edgeprof buckets` as a user runs it."""

import shutil
from pathlib import Path

from command import Command


def test_it_chooses_and_exports(portable_models: Path, edgeprof: Command, tmp_path: Path) -> None:
    """MACs of gpt2-small: 2 layers of width 128, a head of 4,000: 905,216 a token, and 512 for each pair of them."""
    shutil.copytree(
        portable_models / "gpt2-small-portable" / "fp32", tmp_path / "models" / "gpt2-small-portable" / "fp32"
    )
    lengths = tmp_path / "requests.txt"
    lengths.write_text("# tokens\n" + "8\n" * 6 + "\n16\n30\n")
    ran = edgeprof("buckets", "gpt2-small-portable", "--lengths", lengths, "--count", 2)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "gpt2-small-portable fp32, prefill, batch 1: 2 static lengths for 8 requests"
    assert lines[2].split() == ["tokens", "requests", "share", "MACs"]
    assert [line.split()[:4] for line in lines[3:5]] == [["8", "6", "75", "%"], ["30", "2", "25", "%"]]
    assert lines[-1] == "Written: prefill-1x8.onnx, prefill-1x30.onnx"
    shown = edgeprof("buckets", "gpt2-small-portable", "--lengths", "8,8,16", "--phase", "decode", "--json").json
    assert [one["length"] for one in shown["buckets"]] == [8, 16]
    assert [one["file"] for one in shown["static"]] == ["decode-1x8.onnx", "decode-1x16.onnx"]
    assert (
        "gpt2-small-portable fp32 has static graphs: prefill-1x8.onnx, prefill-1x30.onnx, decode-1x8"
        in edgeprof("models").out
    )
    costs = {one["length"]: one["cost"] for one in shown["buckets"]}
    assert costs[16] - costs[8] == 8 * 512  # the pairs of one new token with 8 more


def test_wrong_lengths(models: Path, edgeprof: Command, tmp_path: Path) -> None:
    lengths = tmp_path / "requests.txt"
    lengths.write_text("8\nlong\n")
    for words, message in (
        (lengths, "'long' is not a token length (line 2 of --lengths). Example: --lengths 16,64,64"),
        ("8,0", "'0' is not a token length (place 2 of --lengths). Example: --lengths 16,64,64"),
        (
            "nowhere.txt",
            "There is no file nowhere.txt. Pass a file with one token length a line, or --lengths 16,64,64",
        ),
    ):
        ran = edgeprof("buckets", "bert-tiny:fp32", "--models", models, "--no-export", "--lengths", words)
        assert (ran.code, ran.sentences) == (2, [f"edgeprof: {message}"])
