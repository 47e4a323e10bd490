"""OpenVINO in the environment it has for itself: its CPU computes, its GPU and NPU say what the runtime said."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def probed(openvino: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [openvino, "-m", "edgeprof", "devices", "--json"],
        cwd=tmp_path_factory.mktemp("openvino"),
        env={**os.environ, "EDGEPROF_CACHE": str(tmp_path_factory.mktemp("cache"))},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "conflict" not in done.stderr
    return {device["provider"]: device for device in json.loads(done.stdout)}


def test_its_cpu_computes(probed: dict[str, dict[str, Any]]) -> None:
    device = probed["openvino-cpu"]
    assert (device["status"], device["emulated"], device["reason"]) == ("ready", False, "")
    assert device["target"]["options"] == {"device_type": "CPU"}
    assert device["target"]["library"] == ""


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_missing_device_is_reported_in_the_words_of_the_runtime(probed: dict[str, dict[str, Any]], kind: str) -> None:
    device = probed[f"openvino-{kind.lower()}"]
    if device["status"] == "ready":
        pytest.skip("there is one here")
    assert (device["status"], device["reason"]) == ("no device", f"Device {kind} is not available")


def test_the_plugins_of_the_other_environment_are_not_installed_here(probed: dict[str, dict[str, Any]]) -> None:
    assert probed["webgpu"]["status"] == probed["qnn"]["status"] == "not installed"
    assert probed["cpu"]["status"] == "ready"
