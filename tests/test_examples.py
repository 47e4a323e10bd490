"""Examples in docstrings run, and every public function has one."""

import doctest
import importlib
import inspect
import shutil
from pathlib import Path

import pytest
from builders import probes

import edgeprof

SHOWCASE = Path(__file__).parents[1] / "reports" / "showcase"
PACKAGE = Path(edgeprof.__file__).parent
WITH_EXAMPLES = sorted(file for file in PACKAGE.rglob("*.py") if ">>> " in file.read_text())


PUBLIC = sorted(name for name in edgeprof.__all__ if inspect.isfunction(getattr(edgeprof, name)))


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_examples(file: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if file.parent.name == "api":  # examples of the library work on exported models and a run
        shutil.copytree(request.getfixturevalue("models"), tmp_path / "models")
        shutil.copytree(SHOWCASE, tmp_path / "reports" / "showcase")
    monkeypatch.chdir(tmp_path)
    if file.name == "probe.py":  # what takes minutes is kept from an earlier time
        monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path))
        probes.keep()
    name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(edgeprof, name).__doc__ or "")
