"""The commands, as a user runs them."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Command, command_line
from onnx import TensorProto, helper

QUICK = ("--rounds", "2", "--runs", "3", "--min-time", "0")


def lines_of(run: Path) -> list[str]:
    file = run / "measurements.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def visits(run: Path) -> list[tuple[str, str, str, int, int, int]]:
    records = map(json.loads, lines_of(run))
    return sorted(
        (r["variant"], r["precision"], r["phase"], r["tokens"], r["past_tokens"], r["round"]) for r in records
    )


def test_models_lists_the_variants(edgeprof: Command) -> None:
    rows = edgeprof("models", "--json").json
    assert len(rows) == 15
    assert rows[0] == {
        "name": "gpt2",
        "family": "gpt2",
        "params": 124_439_808,
        "layers": 12,
        "width": 768,
        "heads": 12,
        "vocabulary": 50257,
        "patch": None,
        "max_tokens": 1024,
    }
    assert "632,045,800" in edgeprof("models").out


def test_the_main_job_from_a_name_to_a_page(edgeprof: Command, tmp_path: Path) -> None:
    (exported,) = edgeprof("export", "bert-tiny", "--json").json
    assert exported["artifact"]["params"] == 4_385_920
    shown = edgeprof("export", "bert-tiny").out
    assert "up to date" in shown and "verified against PyTorch at 1x1, 3x7, 1x64" in shown and "simplify:" in shown
    (verified,) = edgeprof("verify", "--json").json
    assert len(verified["checks"]) == 3
    run = edgeprof("profile", "--seq", "8,16", *QUICK, "--name", "mine", "--json").json
    assert [(point["tokens"], point["status"], point["rounds"]) for point in run["points"]] == [
        (8, "ok", 2),
        (16, "ok", 2),
    ]
    assert run["points"][0]["macs"] == 2 * (12 * 8 * 128**2 + 2 * 8 * 8 * 128) + 128**2
    report = edgeprof("report", "--json").json
    assert {Path(report[kind]).name for kind in ("page", "markdown")} == {"index.html", "report.md"}
    assert all((tmp_path / figure).stat().st_size > 5000 for figure in report["figures"])
    with (tmp_path / "reports" / "mine" / "measurements.csv").open() as file:
        assert [row["latency_median_s"] != "" for row in csv.DictReader(file)] == [True, True]


def test_prefill_and_decode_mean_what_they_say(edgeprof: Command, models: Path) -> None:
    """16 tokens at once; one new token with 16 cached. ViT: 3 x 3 patches and a class token are the most within 16."""
    run = edgeprof("profile", "--models", models, "--precision", "fp32", "--seq", "16", *QUICK, "--json").json
    points = {(p["variant"], p["phase"]): (p["tokens"], p["past_tokens"]) for p in run["points"]}
    assert points == {
        ("gpt2-small", "prefill"): (16, 0),
        ("gpt2-small", "decode"): (1, 16),
        ("bert-tiny", "prefill"): (16, 0),
        ("vit-tiny", "prefill"): (10, 0),
    }


def test_the_same_command_again_measures_only_what_is_missing(edgeprof: Command, models: Path, tmp_path: Path) -> None:
    command = ("profile", f"{models}/bert-tiny", "--precision", "fp32", *QUICK, "--name", "mine")
    run = tmp_path / "reports" / "mine"
    assert edgeprof(*command, "--seq", "8").code == 0
    first = lines_of(run)
    assert len(first) == 2
    assert edgeprof(*command, "--seq", "8").code == 0
    assert lines_of(run) == first
    assert edgeprof(*command, "--seq", "8,16").code == 0
    assert lines_of(run)[:2] == first
    assert [visit[3] for visit in visits(run)] == [8, 8, 16, 16]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_is_taken_up(
    how: signal.Signals, edgeprof: Command, models: Path, tmp_path: Path
) -> None:
    command = (
        "profile",
        f"{models}/bert-tiny",
        "--seq",
        "8,16,32",
        "--rounds",
        "3",
        "--runs",
        "3",
        "--min-time",
        "0.1",
    )
    run = tmp_path / "reports" / "mine"
    child = subprocess.Popen(
        command_line(*command, "--name", "mine"),
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(lines_of(run)) < 2:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, how)
    _, said = child.communicate()
    if how == signal.SIGINT:
        assert (child.returncode, said.splitlines()) == (130, ["edgeprof: Interrupted; what was finished is on disk."])
        assert (run / "measurements.csv").is_file()
    before = [line for line in lines_of(run) if line.endswith("}")]
    assert 2 <= len(before) < 18
    assert edgeprof(*command, "--name", "mine").code == 0
    assert lines_of(run)[: len(before)] == before
    wanted = [("bert-tiny", p, "prefill", t, 0, r) for p in ("fp32", "int8") for t in (8, 16, 32) for r in (0, 1, 2)]
    assert visits(run) == sorted(wanted)


def test_a_point_that_fails_is_a_record_and_the_run_goes_on(edgeprof: Command, tmp_path: Path) -> None:
    """A file with a fixed inner size: reshaping to rows of 8 fails at 12 tokens, and works at 8."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["tokens", "rows"], ["out"])],
        "rows",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", "sequence"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [helper.make_tensor("rows", TensorProto.INT64, [2], [-1, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "f.onnx")
    done = edgeprof("profile", "f.onnx", "--seq", "8,12", *QUICK, "--name", "mine", "--json")
    assert done.code == 1
    good, bad = done.json["points"]
    assert (good["tokens"], good["status"], bad["tokens"], bad["status"]) == (8, "ok", 12, "failed")
    assert "onnxruntime cannot run" in bad["error"]
    assert edgeprof("report", "mine").code == 0
    assert "onnxruntime cannot run" in (tmp_path / "reports" / "mine" / "report.md").read_text()


def test_a_foreign_file_takes_sizes_and_values_from_its_user(edgeprof: Command, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [1.0] * 8)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "f.onnx")
    assert "--dim" in edgeprof("profile", "f.onnx", "--seq", "8", *QUICK).err
    (point,) = edgeprof("profile", "f.onnx", "--dim", "rows=8", *QUICK, "--json").json["points"]
    assert (point["status"], point["params"], point["weights"]) == ("ok", 8, "file")
    np.save(tmp_path / "x.npy", np.ones((6, 4), np.float32))
    (point,) = edgeprof("profile", "f.onnx", "--input", "x=x.npy", *QUICK, "--json").json["points"]
    assert point["status"] == "ok"


def test_logits_last_has_a_name_of_its_own(edgeprof: Command, gpt2_checkpoint: Path) -> None:
    (exported,) = edgeprof("export", gpt2_checkpoint, "--logits", "last", "--json").json
    assert exported["artifact"]["name"] == "gpt2-small-last"
    assert next(out for out in exported["artifact"]["outputs"] if out["name"] == "logits")["dims"][1] == 1


def test_a_range_of_lengths_is_a_series() -> None:
    from edgeprof.cli.options import numbers

    assert numbers("16..512x2", "--seq") == [16, 32, 64, 128, 256, 512]
    assert numbers("10..1000x10,7", "--seq") == [7, 10, 100, 1000]
    assert numbers("3..20", "--seq") == [3, 6, 12]
