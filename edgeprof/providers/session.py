"""Sessions that run on the execution provider asked for, or not at all.

onnxruntime falls back to the CPU in silence in several ways, so that a CPU time would carry another provider's name:

- a provider that it does not know, or whose factory fails, is left out with a line in the log: refused here;
- a session that cannot be created, or a run that fails, is tried again on the CPU by the Python wrapper: switched off;
- a provider that takes few nodes of a graph or none stays listed as active: the assignment tells, and whoever opens a
  session has to look at it (`edgeprof.providers.placement`), or has to open it `strict`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof import process
from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.providers import ort_messages, plugins, refusals
from edgeprof.schema import CPU, Request, Target
from edgeprof.store import read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, SessionOptions

FLOATS = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64"}
"""onnxruntime's words for what an input takes."""

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
NO_CPU = "session.disable_cpu_ep_fallback"


def open_session(
    model: str,
    target: Target = CPU,
    threads: int = 0,
    *,
    weights_folder: str = "",
    profile: str = "",
    record_assignment: bool = False,
    strict: bool = False,
    optimized: bool = True,
    verbose: bool = False,
) -> "InferenceSession":
    """Load the ONNX file `model` on one provider, with `threads` intra-op threads and onnxruntime's defaults otherwise.

    What the provider does not take is left to the CPU provider, unless `strict`.

    Args:
        threads: 0 for as many as onnxruntime takes by itself.
        weights_folder: where the data files lie that the model refers to, if not beside it.
        profile: start of the name of a file into which onnxruntime writes what every node takes, until
            `end_profiling`; empty for none.
        record_assignment: `get_provider_graph_assignment_info` of the session tells which provider has which node.
        strict: a graph that the provider does not take wholly is refused.
        optimized: False runs the graph as it stands in the file.
        verbose: everything is logged to standard error, which is where providers say why they leave a node.

    Raises:
        ModelFileError: onnxruntime refuses the file.
        EdgeprofError: the provider is not part of this onnxruntime or did not take the model, or memory ran out.
    """
    import onnxruntime

    moment = ort_messages.mark()
    process.step(f"loading {model}")
    options = session_options(target, threads, weights_folder)
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    if record_assignment:
        options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if verbose:
        options.log_severity_level = 0
    if strict and target.runtime_name != CPU.runtime_name:
        options.add_session_config_entry(NO_CPU, "1")
    try:
        # enable_fallback=0: otherwise the Python wrapper retries a failed provider on the CPU.
        session = onnxruntime.InferenceSession(
            source(model, weights_folder), options, **built_in(target), enable_fallback=0
        )
    except MemoryError as problem:
        raise EdgeprofError(f"There is not enough memory to load {model}.", "Take a smaller model.") from problem
    except Exception as problem:  # onnxruntime's errors share no base class
        raise refusals.not_loaded(model, target, problem, ort_messages.since(moment)) from problem
    session.disable_fallback()
    process.step(f"running {model}")
    active = session.get_providers()
    if active[:1] != [target.runtime_name]:
        told = "; ".join([f"{model} is on {', '.join(active)}", *ort_messages.errors(ort_messages.since(moment))[-1:]])
        raise EdgeprofError(f"{target.runtime_name} did not take part: {told}.", "Run: edgeprof devices")
    return session


def open_request(request: Request, **options: Any) -> "InferenceSession":
    """As `open_session`, with what a child was told."""
    return open_session(
        request.model, request.target, request.threads, weights_folder=request.weights_folder, **options
    )


def session_options(target: Target, threads: int = 0, weights_folder: str = "") -> "SessionOptions":
    """Options of a session on a provider; a plugin is registered and its device added.

    Raises:
        EdgeprofError: the provider is not part of this onnxruntime, or its library does not load or finds no device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if weights_folder:
        options.add_session_config_entry(WEIGHTS_FOLDER, weights_folder)
    if target.library:
        options.add_provider_for_devices(plugins.register(target)[:1], target.options)
    elif target.runtime_name not in onnxruntime.get_available_providers():
        raise EdgeprofError(f"The onnxruntime installed here has no {target.runtime_name}.", "Run: edgeprof devices")
    return options


def source(model: str, weights_folder: str) -> str | bytes:
    """What to load a model from: its path, which tells where its weights are, or its bytes where they lie elsewhere.

    Weights are mapped into memory either way.
    """
    if not weights_folder:
        return model
    return read_bytes(Path(model), ModelFileError, "Run the command again.")


def built_in(target: Target) -> dict[str, Any]:
    """How a provider that is part of onnxruntime is asked for; the CPU provider is not listed: it would hide errors."""
    if target.library:
        return {}
    return {"providers": [target.runtime_name], "provider_options": [target.options]}


def as_taken(session: "InferenceSession", feeds: "dict[str, NDArray[Any]]") -> "dict[str, Any]":
    """Feeds in the floating-point types that a session takes (a KV cache in fp16 is fed as one), sequences as lists."""
    types = {value.name: value.type for value in session.get_inputs()}
    taken = {name: FLOATS[kind] for name, kind in types.items() if kind in FLOATS}
    return {
        name: list(array)
        if types.get(name, "").startswith("seq(")
        else array.astype(taken.get(name, array.dtype), copy=False)
        for name, array in feeds.items()
    }
