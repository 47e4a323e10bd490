"""What goes on a device: the wheel alone, in a fresh environment, without torch."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment into which nothing but the built wheel was installed."""
    folder = tmp_path_factory.mktemp("device")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    install = [programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True)
    return programs


def run(programs: Path, *words: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [programs / "edgeprof", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_device_without_torch_does_everything_but_export(device: Path, models: Path, tmp_path: Path) -> None:
    packages = json.loads(
        subprocess.run([device / "pip", "list", "--format", "json"], check=True, capture_output=True).stdout
    )
    names = {package["name"].lower() for package in packages}
    assert names.isdisjoint({"torch", "transformers", "onnxscript", "onnxsim"})

    listed = json.loads(run(device, "models", "--json", cwd=tmp_path))
    assert len(listed) == 92
    verified = json.loads(run(device, "verify", "--models", models, "--json", cwd=tmp_path))
    assert {artifact["precision"]["recipe"] for artifact in verified} == {"fp32", "int8"}
    file = models / "bert-tiny" / "fp32" / "model.onnx"
    settings = ("--rounds", "1", "--max-time", "0", "--runs", "3", "--min-time", "0", "--name", "here", "--json")
    profiled = json.loads(run(device, "profile", file, "--seq", "8", *settings, cwd=tmp_path))
    assert [point["status"] for point in profiled["points"]] == ["ok"]
    assert Path(run(device, "report", "here", cwd=tmp_path).splitlines()[0]) == Path("reports/here/index.html")
    assert (tmp_path / "reports" / "here" / "index.html").is_file()
    explained = json.loads(run(device, "explain", file, "--seq", "8", "--json", cwd=tmp_path))
    assert sum(cost["params"] for cost in explained["ledger"]["costs"]) == 4_385_920
    run(device, "explain", "gpt3", "--seq", "16..4096", cwd=tmp_path)
    assert (tmp_path / "reports" / "explain-gpt3" / "figures" / "explain-macs.png").is_file()
    assert "1 not checked, 1 wrong" in run(device, "claims", cwd=tmp_path)


def test_a_device_without_torch_says_what_exporting_needs(device: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [device / "edgeprof", "export", "gpt2"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    sentence = "edgeprof: Exporting needs 'torch', which is not installed. Run: pip install 'edgeprof[export]'"
    assert done.stderr.splitlines() == [sentence]


def test_the_text_of_samples_is_in_the_wheel(device: Path, tmp_path: Path) -> None:
    there = "from edgeprof.stages.samples import SHIPPED_TEXT; print(SHIPPED_TEXT.read_text(), end='')"
    printed = subprocess.run([device / "python", "-c", there], cwd=tmp_path, check=True, capture_output=True)
    assert printed.stdout == (ROOT / "edgeprof" / "stages" / "samples" / "text.txt").read_bytes()
