"""What goes on a device: the wheel alone, in a fresh environment, without torch."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 300_000_000
"""Bytes of an environment on a device, pip and what onnxruntime asks for included."""


def run(programs: Path, *words: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [programs / "edgeprof", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_environment_on_a_device_is_small(device: Path) -> None:
    """As installed: what is compiled when it is first imported is not part of it."""
    files = [file for file in device.parent.rglob("*") if file.is_file() and not file.is_symlink()]
    assert sum(file.stat().st_size for file in files if "__pycache__" not in file.parts) <= LARGEST


def test_a_device_without_torch_does_everything_but_export_and_draw(device: Path, models: Path, tmp_path: Path) -> None:
    packages = json.loads(
        subprocess.run([device / "pip", "list", "--format", "json"], check=True, capture_output=True).stdout
    )
    names = {package["name"].lower() for package in packages}
    assert names.isdisjoint({"torch", "transformers", "onnxscript", "onnxsim", "scipy", "matplotlib"})

    listed = json.loads(run(device, "models", "--json", cwd=tmp_path))
    assert len(listed) == 92
    verified = json.loads(run(device, "verify", "--models", models, "--json", cwd=tmp_path))
    assert {artifact["precision"]["recipe"] for artifact in verified} == {"fp32", "int8"}
    file = models / "bert-tiny" / "fp32" / "model.onnx"
    settings = ("--rounds", "1", "--max-time", "0", "--runs", "3", "--min-time", "0", "--name", "here", "--json")
    profiled = json.loads(run(device, "profile", file, "--seq", "8", *settings, cwd=tmp_path))
    assert [point["status"] for point in profiled["points"]] == ["ok"]
    explained = json.loads(run(device, "explain", file, "--seq", "8", "--json", cwd=tmp_path))
    assert sum(cost["params"] for cost in explained["ledger"]["costs"]) == 4_385_920
    assert "1 not checked, 1 wrong" in run(device, "claims", cwd=tmp_path)


@pytest.mark.parametrize(
    ("words", "doing", "package", "extra"),
    [
        (["export", "gpt2"], "Exporting", "torch", "export"),
        (["report"], "Drawing", "matplotlib", "report"),
        (["explain", "gpt3", "--seq", "16..4096"], "Drawing", "matplotlib", "report"),
    ],
)
def test_a_device_says_what_it_lacks(
    device: Path, tmp_path: Path, words: list[str], doing: str, package: str, extra: str
) -> None:
    done = subprocess.run([device / "edgeprof", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    sentence = f"edgeprof: {doing} needs '{package}', which is not installed. Run: pip install 'edgeprof[{extra}]'"
    assert done.stderr.splitlines() == [sentence]


def test_the_text_of_samples_is_in_the_wheel(device: Path, tmp_path: Path) -> None:
    there = "from edgeprof.stages.samples import SHIPPED_TEXT; print(SHIPPED_TEXT.read_text(), end='')"
    printed = subprocess.run([device / "python", "-c", there], cwd=tmp_path, check=True, capture_output=True)
    assert printed.stdout == (ROOT / "edgeprof" / "stages" / "samples" / "text.txt").read_bytes()
