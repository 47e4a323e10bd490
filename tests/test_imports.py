"""What is imported when: nothing for a name, no torch on the device, no surprise for those who have neither."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import Command

import edgeprof

EXTRA = ("torch", "transformers", "onnxscript", "onnxsim", "huggingface_hub", "safetensors", "tokenizers")
EXTRA += ("matplotlib", "scipy", "PIL", "fontTools")

HIDE = f"""
import importlib.machinery as machinery
real = machinery.PathFinder.find_spec
def find_spec(name, *rest):
    return None if name.partition(".")[0] in {EXTRA} else real(name, *rest)
machinery.PathFinder.find_spec = find_spec
"""

IMPORT_ALL = """
import importlib, pkgutil, edgeprof
for module in pkgutil.walk_packages(edgeprof.__path__, "edgeprof."):
    if module.name != "edgeprof.__main__":
        importlib.import_module(module.name)
"""


@pytest.fixture
def without_the_extra(tmp_path: Path) -> dict[str, str]:
    """The environment of a process, and of its children, in which no extra of edgeprof is installed."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    return {"PYTHONPATH": str(folder)}


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_extra_is_hidden(without_the_extra: dict[str, str]) -> None:
    for package in EXTRA:
        code = f"import importlib.util; print(importlib.util.find_spec('{package}'))"
        assert python(code, **without_the_extra) == "None\n"


def test_every_module_can_be_imported_without_the_extra(without_the_extra: dict[str, str]) -> None:
    python(IMPORT_ALL, **without_the_extra)


def test_all_but_export_and_drawing_work_without_the_extra(
    without_the_extra: dict[str, str], models: Path, edgeprof: Command, tmp_path: Path
) -> None:
    (tmp_path / "models").symlink_to(models)
    profile = ("profile", "bert-tiny", "--seq", 4, "--rounds", 1, "--max-time", 0, "--runs", 2, "--min-time", 0)
    compare = ("compare", "bert-tiny:fp32", "bert-tiny:int8", "--seq", 4, "--rounds", 2, *profile[6:])
    explain = ("explain", "bert-tiny", "--seq", "4,8")
    for words in (["models"], ["devices"], ["verify", "bert-tiny", "gpt2-small"], profile, compare):
        ran = edgeprof(*words, **without_the_extra)
        assert ran.code == 0, ran.err
    for words, doing, package, extra in (
        (["export", "bert-tiny"], "Exporting", "torch", "export"),
        (["report"], "Drawing", "matplotlib", "report"),
        (explain, "Drawing", "matplotlib", "report"),
    ):
        ran = edgeprof(*words, **without_the_extra)
        assert ran.code == 1
        assert ran.sentences == [
            f"edgeprof: {doing} needs '{package}', which is not installed. Run: pip install 'edgeprof[{extra}]'"
        ]
    assert "MLP up" in ran.out  # of explain, whose table needs no drawing


def test_importing_the_package_imports_no_library_but_the_lazy_loader() -> None:
    code = "import sys; import edgeprof; print(*{name.partition('.')[0] for name in sys.modules})"
    assert set(python(code).split()) - sys.stdlib_module_names - set(
        python(code.replace("edgeprof", "sys")).split()
    ) == {"edgeprof", "lazy_loader"}


def test_the_library_loads_what_draws_and_what_runs_only_when_it_is_used() -> None:
    names = ["torch", "transformers", "matplotlib", "onnxruntime"]
    code = f"import sys; from edgeprof import export, profile, write_report; print(*set(sys.modules) & {set(names)})"
    assert python(code) == "\n"


def test_what_a_device_runs_imports_nothing_that_a_workstation_needs(models: Path, tmp_path: Path) -> None:
    """In one process: what is imported by its children is refused there (`edgeprof.measure.worker`)."""
    code = f"""
import sys
from pathlib import Path
import msgspec
from edgeprof import devices, profile, verify
from edgeprof.api.device_work import handle
from edgeprof.fleet.messages import Describe, Described, Reply
assert isinstance(msgspec.msgpack.decode(handle(msgspec.msgpack.encode(Describe())), type=Reply), Described)
devices()
verify(models=Path({str(models)!r}))
quick = dict(rounds=2, max_time_s=0, runs=2, min_time_s=0)
run = profile(["bert-tiny"], seq=[4], models=Path({str(models)!r}), out=Path({str(tmp_path)!r}), **quick)
assert [point.verdict for point in run.points]
print(*set(sys.modules) & {set(EXTRA)})
"""
    assert python(code) == "\n"


def test_every_promised_name_is_there() -> None:
    for name in edgeprof.__all__:
        assert getattr(edgeprof, name).__doc__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = edgeprof.nonsense
