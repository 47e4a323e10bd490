"""What stopped torch from exporting a model: the operator or the line, and the module that it belongs to."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from edgeprof.errors import EdgeprofError, ExportError, first_line

OPERATOR = re.compile(r"OpOverload\(op='([^']+)'|\b((?:aten|torchvision|prims)[.:]+\w+(?:\.\w+)?)")
SOURCE = re.compile(r'File "[^"]*/transformers/models/[^"]*/(\w+)\.py", line (\d+), in (\w+)')


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say in one sentence what a model's own code raises when it runs on random inputs.

    Raises:
        ExportError: in place of any error but one of edgeprof's.
    """
    try:
        yield
    except EdgeprofError:
        raise
    except Exception as problem:
        raise ExportError(
            f"{name} does not run on the inputs that are known of its forward: {reason(problem)}.",
            "Export the part of the model that takes text, images or audio alone, or profile an .onnx file of it.",
        ) from problem


def reason(problem: BaseException) -> str:
    """One clause: the first line of the innermost error, the operator, and the place in the model's own code.

    >>> reason(ValueError("No ONNX function found for <OpOverload(op='aten.foo', overload='default')>"))
    "No ONNX function found for <OpOverload(op='aten.foo', overload='default')> (operator aten.foo)"
    """
    innermost, text = problem, str(problem)
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
        text += f"\n{innermost}"
    operator = OPERATOR.search(str(innermost)) or OPERATOR.search(text)
    parts = [f"operator {operator[1] or operator[2]}"] if operator else []
    if place := _place(problem, innermost, text):
        parts.append(place)
    return first_line(innermost) + (f" ({', '.join(parts)})" if parts else "")


def _place(problem: BaseException, innermost: BaseException, text: str) -> str:
    """The deepest line of the model's own code, from either traceback or from what torch quotes."""
    for error in (innermost, problem):
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/transformers/models/" in frame.filename]
        if own:
            file = own[-1].filename.rsplit("/", 1)[-1]
            return f"{own[-1].name} in {file}, line {own[-1].lineno}"
    quoted = SOURCE.findall(text)
    if not quoted:
        return ""
    file, line, function = quoted[-1]
    return f"{function} in {file}.py, line {line}"
