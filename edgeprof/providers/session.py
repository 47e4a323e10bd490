"""Sessions that run on the execution provider asked for, or not at all.

onnxruntime falls back to the CPU in silence in several ways; each is closed here, so that a CPU time never carries
another provider's name.
"""

import re
from typing import TYPE_CHECKING, Any

from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.schema import CPU, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

FLOATS = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64"}
"""onnxruntime's words for what an input takes."""


def open_session(model: str, target: Target = CPU, threads: int = 0, *, profile: str = "") -> "InferenceSession":
    """Load the ONNX file `model` on one provider, with `threads` intra-op threads and onnxruntime's defaults otherwise.

    Args:
        threads: 0 for as many as onnxruntime takes by itself.
        profile: start of the name of a file into which onnxruntime writes what every node takes, until
            `end_profiling`; empty for none.

    Raises:
        ModelFileError: onnxruntime refuses the file.
        EdgeprofError: the provider is not part of this onnxruntime or did not take the model, or memory ran out.
    """
    import onnxruntime

    if target.runtime_name not in onnxruntime.get_available_providers():
        raise EdgeprofError(f"The onnxruntime installed here has no {target.runtime_name}.", "Run: edgeprof devices")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    if target.kind != "CPU":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        # enable_fallback=0: otherwise the Python wrapper retries a failed provider on the CPU.
        session = onnxruntime.InferenceSession(model, options, providers=[target.runtime_name], enable_fallback=0)
    except MemoryError as problem:
        raise EdgeprofError(f"There is not enough memory to load {model}.", "Take a smaller model.") from problem
    except Exception as problem:  # onnxruntime's errors share no base class
        raise ModelFileError(
            f"onnxruntime cannot load {model}: {reason(problem)}.", "Export it again, or check where it came from."
        ) from problem
    session.disable_fallback()
    active = session.get_providers()
    if active[:1] != [target.runtime_name]:
        raise EdgeprofError(f"onnxruntime put {model} on {', '.join(active)} instead of {target.runtime_name}.")
    return session


def as_taken(session: "InferenceSession", feeds: "dict[str, NDArray[Any]]") -> "dict[str, NDArray[Any]]":
    """Feeds in the floating-point types that a session takes: a KV cache in fp16 is fed as one."""
    taken = {value.name: FLOATS[value.type] for value in session.get_inputs() if value.type in FLOATS}
    return {name: array.astype(taken.get(name, array.dtype), copy=False) for name, array in feeds.items()}


def reason(problem: Exception) -> str:
    """What onnxruntime says in an error, on one line and without its codes."""
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?", "", str(problem).strip())
    return " ".join(said.split()).rstrip(".") or type(problem).__name__
