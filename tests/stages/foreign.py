"""Small graphs as others write them, and recipes applied to them in this process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx_files import run

from edgeprof.process import silent
from edgeprof.recipe_table import recipe
from edgeprof.schema import Settings
from edgeprof.stages.quantize.stage import Quantized, QuantizeRequest
from edgeprof.stages.quantize.stage import run as quantize_here

Arrays = dict[str, Any]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def write(
    folder: Path, text: str, weights: Mapping[str, Any] | None = None, *, opset: int = 18, ir_version: int = 9
) -> Path:
    """A file of a graph in ONNX's own syntax, its weights inside."""
    graph = onnx.parser.parse_graph(f"g {text}")
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    domains = sorted({node.domain for node in graph.node} - {""})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    path = folder / "source.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), str(path))
    return path


def samples(folder: Path, *feeds: Arrays) -> Path:
    """A file of calibration data."""
    path = folder / "samples.npz"
    np.savez(path, **{f"{number}/{name}": array for number, one in enumerate(feeds) for name, array in one.items()})
    return path


def quantized(source: Path | str, name: str, folder: Path, data: Path | None = None, **settings: Any) -> Quantized:
    """Apply a recipe; `folder` gets model.onnx."""
    row = recipe(name)
    folder.mkdir(exist_ok=True)
    request = QuantizeRequest(
        model=str(source),
        precision=row.precision(Settings(**settings)),
        folder=str(folder),
        samples=str(data) if data and row.calibrated else "",
    )
    return quantize_here(request, silent)


def agreement(plain: Path | str, built: Path | str, feeds: Arrays) -> float:
    """The smallest cosine between outputs of two files."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(built), options, providers=["CPUExecutionProvider"])
    halves = {value.name for value in session.get_inputs() if value.type == "tensor(float16)"}
    given = {name: array.astype(np.float16) if name in halves else array for name, array in feeds.items()}
    expected, result = run(plain, feeds), run(built, given)
    assert list(expected) == list(result)
    return min(cosine(expected[name], result[name]) for name in expected)


def cosine(a: Any, b: Any) -> float:
    assert a.shape == b.shape
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
