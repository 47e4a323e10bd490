"""Quantize an exported model by a recipe of edgeprof's, as a user does."""

from pathlib import Path

from edgeprof.recipe_table import QUANTIZATION_RECIPES
from edgeprof.schema import Artifact
from edgeprof.store import load_artifact
from tests.benchmarks.harness import Cost, edgeprof

VARIED = {"int4-block128-asymmetric": ("int4", "--block-size", "128", "--asymmetric")}
"""What a result is called whose recipe was set otherwise, and how that is asked for."""


def recipes() -> list[str]:
    return [row.name for row in QUANTIZATION_RECIPES]


def calibration(recipe: str) -> tuple[str, ...]:
    """Weights are random here, so what their activations are calibrated on may be random as well."""
    calibrated = any(row.name == recipe and row.calibrated for row in QUANTIZATION_RECIPES)
    return ("--calibration", "random") if calibrated else ()


def export(work: Path, model: str) -> Artifact:
    edgeprof("export", model, "--weights", "random", cwd=work)
    return load_artifact(work / "models" / model / "fp32")


def quantize(work: Path, model: str, recipe: str) -> tuple[Artifact, Cost]:
    """The artifact, and what it cost to make.

    Raises:
        Failed: the command did.
    """
    requested = VARIED.get(recipe, (recipe,))
    cost = edgeprof("quantize", f"models/{model}/fp32", "--recipe", *requested, *calibration(recipe), cwd=work)
    return load_artifact(work / "models" / model / recipe), cost


def size_bytes(model: Path) -> int:
    """Of an ONNX file and of what lies beside it under its name."""
    return sum(file.stat().st_size for file in model.parent.glob(f"{model.name}*"))
