"""What is said where onnxruntime does not load or run a file, and what can be done about it."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.providers import ort_messages
from edgeprof.schema import CPU, Target
from edgeprof.store import ARTIFACT_FILE

if TYPE_CHECKING:
    import onnx

EXTENSIONS = "ai.onnx.contrib"
"""The domain of onnxruntime-extensions: tokenizers, and how texts, images and sounds are read."""

DOMAINS = (
    *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.training", "org.pytorch.aten"),
    *("com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc"),
)
"""Of operators that onnxruntime may have by itself; all others come with a library."""

LARGEST_READ = 1 << 30
"""Bytes of a file up to which it is read to tell the type of a node."""


def require_no_library(model: "onnx.ModelProto", file: str) -> None:
    """See that a graph has no operator that onnxruntime can only run with a library of somebody's own.

    Raises:
        ModelFileError: it has one, which is named.
    """
    node = next((node for node in model.graph.node if node.domain not in DOMAINS), None)
    if node is not None:
        reason = f"{ort_messages.NO_OPERATOR} {node.op_type} of {node.domain}"
        raise ModelFileError(f"onnxruntime cannot load {file}: {reason}.", _after_loading(file, reason))


def not_loaded(model: str, target: Target, problem: Exception, said: str = "") -> EdgeprofError:
    """An error for a file that makes no session.

    Args:
        said: what was logged meanwhile: providers other than the CPU's say there why.
    """
    if kernel := ort_messages.MISSING_KERNEL.search(str(problem)):
        operator, name = kernel["operator"], kernel["name"]
        kind = _operand_type(Path(model), operator, name)
        return ModelFileError(
            f"onnxruntime cannot load {model}: the {_provider(target)} provider cannot compute {operator}"
            f"{f' of {kind}' if kind else ''} (operator set {kernel['opset']}{f', node {name!r}' if name else ''}).",
            "Use a file in another precision, such as fp32, or a provider that has it.",
        )
    if target.runtime_name != CPU.runtime_name:
        return EdgeprofError(f"{target.provider} cannot load {model}: {ort_messages.reason(problem, said)}.")
    reason = ort_messages.reason(problem)
    return ModelFileError(f"onnxruntime cannot load {model}: {reason}.", _after_loading(model, reason))


def not_run(model: str, target: Target, problem: Exception) -> EdgeprofError:
    """An error for a session that fails in a run."""
    runner = "onnxruntime" if target.runtime_name == CPU.runtime_name else target.provider
    return EdgeprofError(
        f"{runner} cannot run {model}: {ort_messages.reason(problem)}.",
        "Ask for sizes that it takes, or give it inputs of your own.",
    )


def _provider(target: Target) -> str:
    return "CPU" if target.runtime_name == CPU.runtime_name else target.provider


def _after_loading(model: str, reason: str) -> str:
    if EXTENSIONS in reason:
        return (
            "That is an operator of onnxruntime-extensions, which edgeprof does not load: "
            "use the model without its pre- and postprocessing."
        )
    if ort_messages.NO_OPERATOR in reason:
        return "That is an operator of somebody's own, whose library edgeprof does not load: use a model without it."
    if Path(model).with_name(ARTIFACT_FILE).exists():
        return "Export it again with --force."
    return "See that it is complete, and made for this version of onnxruntime, where it came from."


def _operand_type(file: Path, operator: str, name: str) -> str:
    """ "bfloat16": of the first input of a node; "" where the file does not tell, or onnxruntime made the node.

    Only called where a session could not be made: this loads onnx, which a process that measures does not have.
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
