"""The error for each way in which onnxruntime fails, and what to do about it.

onnxruntime's errors share no base class: what runs it does so within `ort_errors`, and catches nothing itself.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof import process
from edgeprof.errors import EdgeprofError, ModelFileError, OutOfMemory, memory_ran_out
from edgeprof.providers import ort_messages
from edgeprof.schema import Target
from edgeprof.store import ARTIFACT_FILE

if TYPE_CHECKING:
    import onnx

EXTENSIONS = "ai.onnx.contrib"
"""The domain of onnxruntime-extensions: tokenizers, and decoders of text, images and audio."""

DOMAINS = (
    *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.training", "org.pytorch.aten"),
    *("com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc"),
)
"""Of operators that onnxruntime may have built in; all others come with a library."""

LARGEST_READ = 1 << 30
"""Bytes of a file up to which it is read for the type of a node."""


@contextlib.contextmanager
def ort_errors(error: Callable[[str], EdgeprofError]) -> Iterator[None]:
    """Turn whatever onnxruntime raises inside into an EdgeprofError; one passes through.

    Where memory ran out it is an OutOfMemory.

    Args:
        error: makes it, from the reason: a sentence without a full stop, of the error or of what was logged before it.

    >>> with ort_errors(lambda reason: ModelFileError(f"The file cannot be loaded: {reason}.", "Export it again.")):
    ...     raise RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed.")
    Traceback (most recent call last):
        ...
    edgeprof.errors.ModelFileError: The file cannot be loaded: Protobuf parsing failed. Export it again.
    """
    moment = ort_messages.mark()
    try:
        yield
    except EdgeprofError:
        raise
    except MemoryError as problem:
        raise OutOfMemory(process.doing()) from problem
    except Exception as problem:
        reason = ort_messages.reason(problem, ort_messages.since(moment))
        if memory_ran_out(reason):
            raise OutOfMemory(process.doing(), reason) from problem
        raise error(reason) from problem


def require_no_library(model: "onnx.ModelProto", file: str) -> None:
    """Refuse a graph with an operator that onnxruntime can only run with a custom library.

    Raises:
        ModelFileError: it has one; the message names it.
    """
    node = next((node for node in model.graph.node if node.domain not in DOMAINS), None)
    if node is not None:
        reason = f"{ort_messages.NO_OPERATOR} {node.op_type} of {node.domain}"
        raise ModelFileError(f"onnxruntime cannot load {file}: {reason}.", _after_loading(file, reason))


def not_loaded(model: str, target: Target, reason: str) -> EdgeprofError:
    """The error for a file of which no session can be created."""
    if kernel := ort_messages.MISSING_KERNEL.search(reason):
        operator, name = kernel["operator"], kernel["name"]
        kind = _operand_type(Path(model), operator, name)
        return ModelFileError(
            f"onnxruntime cannot load {model}: the {_provider(target)} provider cannot compute {operator}"
            f"{f' of {kind}' if kind else ''} (operator set {kernel['opset']}{f', node {name!r}' if name else ''}).",
            "Use a file in another precision, such as fp32, or a provider that can.",
        )
    if not target.is_cpu:
        return EdgeprofError(f"{target.provider} cannot load {model}: {reason}.")
    return ModelFileError(f"onnxruntime cannot load {model}: {reason}.", _after_loading(model, reason))


def not_run(model: str, target: Target, reason: str) -> EdgeprofError:
    """The error for a session that fails in a run."""
    runner = "onnxruntime" if target.is_cpu else target.provider
    return EdgeprofError(
        f"{runner} cannot run {model}: {reason}.", "Request sizes that it accepts, or pass your own inputs."
    )


def _provider(target: Target) -> str:
    return "CPU" if target.is_cpu else target.provider


def _after_loading(model: str, reason: str) -> str:
    if EXTENSIONS in reason:
        return (
            "This operator belongs to onnxruntime-extensions, which edgeprof does not load: "
            "use the model without its pre- and postprocessing."
        )
    if ort_messages.NO_OPERATOR in reason:
        return "This is a custom operator, whose library edgeprof does not load: use a model without it."
    if Path(model).with_name(ARTIFACT_FILE).exists():
        return "Export it again with --force."
    return "Check at its source that it is complete and made for this version of onnxruntime."


def _operand_type(file: Path, operator: str, name: str) -> str:
    """Type of a node's first input, such as "bfloat16"; "" where it is not in the file, or onnxruntime made the node.

    Called only where no session could be created: this loads onnx, which a measuring process must not.
    """
    import onnx

    if file.stat().st_size > LARGEST_READ:
        return ""
    model = onnx.shape_inference.infer_shapes(onnx.load(file, load_external_data=False))
    graph = model.graph
    node = next((node for node in graph.node if (node.op_type, node.name) == (operator, name)), None)
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types |= {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
    kind = types.get(node.input[0], 0) if node is not None and node.input else 0
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind).name) if kind else ""
