"""What each command does with a model, in this process: it answers, refuses in a sentence, or is wrong.

`explain` counts, `quantize` makes a file in int8, `pin` fixes all shapes and runs, `fold` does so with the inputs as
constants (whatever can be computed beforehand is), `profile` runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeprof import counting
from edgeprof.api.targets import foreign
from edgeprof.counting import shapes
from edgeprof.errors import EdgeprofError
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.output_tolerance import difference
from edgeprof.process import silent
from edgeprof.providers import ort_messages
from edgeprof.providers.ort_errors import not_run
from edgeprof.providers.session import open_session
from edgeprof.schema import CPU, InputValue, Precision, Target
from edgeprof.stages.provider_graph import prepare_for_provider
from edgeprof.stages.quantize.stage import QuantizeRequest
from edgeprof.stages.quantize.stage import run as quantized

from .models import Example

COMMANDS = ("explain", "quantize", "pin", "fold", "profile")
NPU = Target(provider="npu", kind="NPU", static=True, lacks=("Attention",))
ALLOWED = {"float16": 3e-3, "bfloat16": 2e-2}
"""Largest difference over the largest value, where a pinned graph computes in another order; else 0.0001."""

UNEXPECTED = "The graph cannot be adapted to"
"""Begins a sentence that stands for an error of a library."""

NOT_LOADED = "The pinned graph: "
"""Begins what is said of a graph that onnxruntime took before it was pinned, and then refuses."""


def outcome(command: str, example: Example) -> tuple[str, str]:
    """ "answered", "refused" with the sentence, or "wrong" with what happened."""
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(example.model.SerializeToString())
        try:
            RUN[command](file, example)
        except EdgeprofError as problem:
            return "wrong" if UNEXPECTED in str(problem) else "refused", str(problem)
        except Exception as problem:  # noqa: BLE001  (which is what is looked for)
            return "wrong", f"{type(problem).__name__}: {problem}"
    return "answered", ""


def _explain(file: Path, example: Example) -> None:
    """Counted output shapes are those of onnxruntime's outputs, as far as they do not depend on values."""
    model = counting.read(file)
    counting.inputs(model)
    counting.count(model, example.shapes)
    result = shapes.infer(model, example.shapes)
    for name, value in _outputs(file, example).items():
        counted = result.get(name)
        if isinstance(value, np.ndarray) and counted is not None and counted.shape is not None:
            assert counted.shape == value.shape, f"{name} has shape {value.shape}, and {counted.shape} is counted"


def _quantize(file: Path, example: Example) -> None:
    """With all inputs but the first one as constants, so that there are weights; the result has to run."""
    weighted = example.with_constants(1)
    file.write_bytes(weighted.model.SerializeToString())
    expected = _run(file, weighted)
    folder = file.parent / "int8"
    folder.mkdir()
    quantized(QuantizeRequest(model=str(file), precision=Precision(recipe="int8"), folder=str(folder)), silent)
    result = _run(folder / "model.onnx", weighted)
    assert _shapes(result) == _shapes(expected)


def _shapes(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Of tensors; sequences have none."""
    return {name: getattr(value, "shape", None) for name, value in outputs.items()}


def _pin(file: Path, example: Example) -> None:
    built = Path(prepare_for_provider(foreign(file).graph(), NPU, example.shapes, file.parent / "graphs").path)
    expected = _outputs(file, example)
    try:
        result = _run(built, example)
    except EdgeprofError as problem:
        if expected:
            raise EdgeprofError(f"{NOT_LOADED}{problem}") from problem
        raise
    if not expected:
        return
    assert list(result) == list(expected)
    for name, value in expected.items():
        _, relative, _ = difference(result[name], value)
        kind = value.dtype.name if isinstance(value, np.ndarray) else ""
        assert relative <= ALLOWED.get(kind, 1e-4), f"{name} differs by {relative:.3g}"
        assert not kind or result[name].dtype == value.dtype


def _fold(file: Path, example: Example) -> None:
    constant = example.with_constants(0)
    file.write_bytes(constant.model.SerializeToString())
    _pin(file, constant)


def _profile(file: Path, example: Example) -> None:
    foreign(file)
    _run(file, example)


def _outputs(file: Path, example: Example) -> Mapping[str, Any]:
    """Those of onnxruntime; none where it does not run the model."""
    try:
        return _run(file, example)
    except EdgeprofError:
        return {}


def _run(file: Path, example: Example) -> dict[str, Any]:
    """As the measuring child runs it."""
    session = open_session(str(file), threads=1)
    names = {value.name for value in session.get_inputs()}
    given = {name: value for name, value in example.feeds.items() if name in names}
    described = [InputValue(name=name, dtype="float32", shape=(), fill="file") for name in given]
    try:
        binding = Binding(session, CPU, described, given)
        binding.run()
        binding.settle()
        binding.run()
        return binding.outputs()
    except Exception as problem:
        if type(problem).__module__.startswith("onnxruntime") or isinstance(problem, RuntimeError):
            raise not_run(str(file), CPU, ort_messages.reason(problem)) from problem
        raise


RUN = {"explain": _explain, "quantize": _quantize, "pin": _pin, "fold": _fold, "profile": _profile}
