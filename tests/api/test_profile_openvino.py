"""A run in the environment with OpenVINO, which brings an older onnxruntime of its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def points(openvino: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    words = "profile --precision fp32 --seq 8 --threads 1 --rounds 1 --runs 1 --min-time 0 --ep cpu,openvino-cpu --json"
    done = subprocess.run(
        [openvino, "-m", "edgeprof", *words.split(), "--models", models],
        cwd=tmp_path_factory.mktemp("openvino"),
        env={**os.environ, "EDGEPROF_CACHE": str(tmp_path_factory.mktemp("cache"))},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["points"]
    return found


def test_every_model_runs_on_its_cpu_as_one_part(points: list[dict[str, Any]]) -> None:
    mine = [point for point in points if point["provider"] == "openvino-cpu"]
    assert sorted((point["family"], point["phase"]) for point in mine) == [
        ("bert", "prefill"),
        ("gpt2", "decode"),
        ("gpt2", "prefill"),
        ("vit", "prefill"),
    ]
    for point in mine:
        assert (point["status"], point["emulated"], point["static"]) == ("ok", False, False)
        assert (point["macs_share"], point["nodes_share"], point["partitions"]) == (1.0, 1.0, 1)


def test_its_results_are_those_of_the_cpu_provider(points: list[dict[str, Any]]) -> None:
    mine = [point for point in points if point["provider"] == "openvino-cpu"]
    assert all(point["agrees"] for point in mine)
    assert 0 < max(point["max_rel_error"] for point in mine) < 1e-4  # it computes in fp32, in an order of its own
