"""A run in the environment with OpenVINO, which brings an older onnxruntime of its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from builders.records import flat


@pytest.fixture(scope="module")
def points(openvino: Path, portable_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    words = "profile --precision fp32 --seq 8 --threads 1 --ep cpu,openvino-cpu --json "
    words += "--rounds 1 --max-time 0 --runs 1 --min-time 0"
    done = subprocess.run(
        [openvino, "-m", "edgeprof", *words.split(), "--models", portable_models],
        cwd=tmp_path_factory.mktemp("openvino"),
        env={**os.environ, "EDGEPROF_CACHE": str(tmp_path_factory.mktemp("cache"))},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return [flat(point) for point in json.loads(done.stdout)["points"]]


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
        placed, *others = point["placement"]["placed"]
        assert (placed["provider"], placed["partitions"]) == ("openvino-cpu", 1)
        assert all(one["nodes"] == one["macs"] == 0 for one in others)


def test_its_results_are_those_of_the_cpu_provider(points: list[dict[str, Any]]) -> None:
    mine = [point for point in points if point["provider"] == "openvino-cpu"]
    agreements = [point["agreement"] for point in mine]
    assert all(one["max_rel_error"] <= one["tolerance"] for one in agreements)
    assert 0 < max(one["max_rel_error"] for one in agreements) < 1e-4  # it computes in fp32, in an order of its own
