"""What is imported when: help is instant, and the device has no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "matplotlib", "scipy", "onnx", "onnxruntime", "numpy", "jinja2"}
EXTRA = ("torch", "transformers", "onnxscript", "onnxsim", "huggingface_hub", "safetensors")
PACKAGE = Path(__file__).parents[1] / "edgeprof"
MODULES = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in PACKAGE.rglob("*.py")
    if file.name != "__main__.py"
)

LOADED = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {EXTRA!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""


def loaded_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{code}\n{LOADED}"], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [["--help"], ["models"], ["export", "--help"], ["profile", "--help"]])
def test_a_command_that_computes_nothing_loads_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["edgeprof", *{words!r}]
from edgeprof.cli import main
try:
    main()
except SystemExit:
    pass
"""
    assert loaded_after(code) & HEAVY == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import edgeprof") & (HEAVY | {"msgspec", "typer"}) == set()


def test_every_module_can_be_imported_without_the_export_extra() -> None:
    imports = "\n".join(f"import {module}" for module in MODULES)
    assert loaded_after(BLOCK + imports) & set(EXTRA) == set()


def test_the_library_surface_is_what_the_readme_imports() -> None:
    import edgeprof

    for name in edgeprof.__all__:
        assert getattr(edgeprof, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        edgeprof.quantise  # noqa: B018
