"""What the commands print, and that every one of them can be read by a program."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.records import flat
from command import Command
from onnx import TensorProto, helper

QUICK = ("--rounds", 1, "--max-time", 0, "--runs", 2, "--min-time", 0)
HEAVY = ("torch", "transformers", "matplotlib", "scipy", "onnx", "onnxruntime", "numpy", "jinja2")


@pytest.mark.parametrize("words", [["--help"], ["models"], ["models", "--json"], ["export", "--help"], ["--version"]])
def test_asking_imports_nothing_heavy(words: list[str], edgeprof: Command) -> None:
    ran = edgeprof(*words, PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.sentences}
    assert "typer" in imported
    assert not imported.intersection(HEAVY)


def test_help_tells_of_every_command(edgeprof: Command) -> None:
    for words in (["--help"], ["-h"]):
        ran = edgeprof(*words)
        assert ran.code == 0
        for verb in ("models", "export", "verify", "profile", "report"):
            assert verb in ran.out
    assert edgeprof().out.strip() == edgeprof("--help").out.strip()


def test_models_lists_sizes(edgeprof: Command) -> None:
    rows = {row["name"]: row for row in edgeprof("models", "--json").json}
    assert len(rows) == 92
    assert rows["gpt2-xl"] == {
        "name": "gpt2-xl",
        "family": "gpt2",
        "params": 1_557_611_200,
        "layers": 48,
        "width": 1600,
        "heads": 25,
        "vocabulary": 50_257,
        "patch": None,
        "max_tokens": 1024,
    }
    table = edgeprof("models").out
    (line,) = (line for line in table.splitlines() if line.startswith("vit-huge"))
    assert line.split() == ["vit-huge", "vit", "632,045,800", "32", "1,280", "16", "-", "14", "-"]


def test_export_says_what_it_did(models: Path, edgeprof: Command) -> None:
    ran = edgeprof("export", "bert-tiny", "--precision", "fp32,int8", "--out", models)
    assert ran.code == 0
    assert "bert-tiny fp32: up to date, " in ran.out
    assert "4,385,920 parameters, random (seed 0) weights" in ran.out
    assert "verified against PyTorch at 1x1, 3x7, 1x64: max difference" in ran.out
    assert "quantized 13 of 13 weight matmuls, 1.6 of 1.6 MB of their weights" in ran.out
    assert "cosine at least 0.99" in ran.out
    (simplified,) = (line for line in ran.out.splitlines() if "simplify: " in line)
    assert " nodes (removed " in simplified
    assert "bytes of weights" in simplified


def test_every_command_speaks_json(models: Path, edgeprof: Command) -> None:
    exported = edgeprof("export", "bert-tiny", "--precision", "fp32,int8", "--out", models, "--json").json
    assert [(built["precision"], built["up_to_date"]) for built in exported] == [("fp32", True), ("int8", True)]
    verified = edgeprof("verify", "bert-tiny", "--models", models, "--json").json
    assert [len(graph["checks"]) for artifact in verified for graph in artifact["graphs"]] == [3, 3]
    run = edgeprof("profile", models / "bert-tiny", "--seq", 4, *QUICK, "--name", "one", "--json").json
    points = [flat(point) for point in run["points"]]
    assert [(point["precision"], point["status"]) for point in points] == [("fp32", "ok"), ("int8", "ok")]
    report = edgeprof("report", "one", "--json").json
    assert Path(report["page"]) == Path("reports/one/index.html")
    assert report["figures"]


def test_the_whole_line(models: Path, edgeprof: Command, tmp_path: Path) -> None:
    """Verify, profile, report, in a folder where models/ is what `export` left."""
    (tmp_path / "models").symlink_to(models)
    checked = edgeprof("verify")
    assert checked.code == 0
    assert checked.out.count("agrees") == 6
    ran = edgeprof("profile", "--seq", 4, "--precision", "fp32", "--name", "line", *QUICK)
    assert ran.code == 0, ran.err
    header, *rows = ran.out.splitlines()
    assert header.split("  ")[0] == "model"
    assert [row.split()[0] for row in rows[:4]] == ["bert-tiny", "gpt2-small", "gpt2-small", "vit-tiny"]
    assert "reports/line: measurements.jsonl, measurements.csv, machine.json" in ran.out
    assert sorted(path.name for path in (tmp_path / "reports/line").iterdir()) == [
        "machine.json",
        "measurements.csv",
        "measurements.jsonl",
    ]
    reported = edgeprof("report")
    assert reported.code == 0
    assert reported.out.startswith("reports/line/index.html\n")
    assert (tmp_path / "reports/line/report.md").is_file()


def test_a_range_of_lengths_doubles(models: Path, edgeprof: Command) -> None:
    ran = edgeprof("profile", models / "bert-tiny/fp32", "--seq", "2..20x3,5", *QUICK, "--json")
    assert [flat(point)["tokens"] for point in ran.json["points"]] == [2, 5, 6, 18]


def test_a_failed_point_is_reported_and_the_exit_code_is_1(edgeprof: Command, tmp_path: Path) -> None:
    """Reshaping to rows of 8 works at 8 tokens and fails at 12."""
    tokens = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", "sequence"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    rows = helper.make_tensor("rows", TensorProto.INT64, [2], [-1, 8])
    save(tmp_path / "f.onnx", helper.make_node("Reshape", ["tokens", "rows"], ["out"]), tokens, out, rows)
    ran = edgeprof("profile", "f.onnx", "--seq", "8,12", "--name", "mixed", *QUICK)
    assert ran.code == 1
    assert "failed: f fp32, prefill at 12 tokens: onnxruntime cannot run" in ran.out
    lines = (tmp_path / "reports/mixed/measurements.jsonl").read_text().splitlines()
    assert sorted((r["tokens"], r["status"]) for r in map(flat, map(json.loads, lines))) == [(8, "ok"), (12, "failed")]
    assert edgeprof("report", "mixed").code == 0
    assert "onnxruntime cannot run" in (tmp_path / "reports/mixed/report.md").read_text()


def test_a_foreign_file_takes_dims_and_inputs(edgeprof: Command, tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", "frames"]) for name in "xy")
    save(tmp_path / "f.onnx", helper.make_node("Relu", ["x"], ["y"]), x, y)
    np.save(tmp_path / "x.npy", np.zeros((3, 32), np.float32))
    by_size = edgeprof("profile", "f.onnx", "--seq", 32, "--dim", "rows=3", "--dim", "frames=32", *QUICK, "--json")
    assert flat(by_size.json["points"][0])["tokens"] == 32
    by_file = edgeprof("profile", "f.onnx", "--input", "x=x.npy", *QUICK, "--json")
    assert by_file.json["points"][0]["status"] == "ok"


def test_names_in_brackets_are_shown_as_they_are(edgeprof: Command, tmp_path: Path) -> None:
    folder = tmp_path / "we[i]rd [" / "x]"
    folder.mkdir(parents=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    save(folder / "a[b].onnx", helper.make_node("Relu", ["x"], ["y"]), x, y)
    ran = edgeprof("profile", folder / "a[b].onnx", *QUICK, "--out", folder, "--name", "run")
    assert ran.code == 0, ran.err
    assert "a[b]" in ran.out
    assert f"{folder}/run: " in ran.out
    assert f"{folder}/run/index.html" in edgeprof("report", "--out", folder).out


def save(
    path: Path, node: onnx.NodeProto, x: onnx.ValueInfoProto, y: onnx.ValueInfoProto, *weights: onnx.TensorProto
) -> None:
    graph = helper.make_graph([node], "g", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
