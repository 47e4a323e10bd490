"""Sessions that run on the execution provider requested, or not at all.

onnxruntime falls back to the CPU silently in several ways, so that a CPU time would carry another provider's name:

- a provider that it does not know, or whose factory fails, is left out with a line in the log: refused here;
- a session that cannot be created, or a run that fails, is retried on the CPU by the Python wrapper: switched off;
- a provider that accepts few nodes of a graph or none stays listed as active: only the assignment shows that, so
  whoever opens a session has to read it (`edgeprof.providers.placement`).
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof import process
from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.providers import ort_messages, plugins
from edgeprof.providers.ort_errors import not_loaded, ort_errors
from edgeprof.schema import CPU, Request, Target
from edgeprof.store import read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, SessionOptions

FLOATS = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64"}
"""Floating-point types of inputs: onnxruntime's names and numpy's."""

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
DISABLE_PREPACKING = "session.disable_prepacking"
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
STOP_SPINNING = "session.force_spinning_stop"


def open_session(
    model: str,
    target: Target = CPU,
    threads: int = 0,
    *,
    weights_folder: str = "",
    profile: str = "",
    record_assignment: bool = False,
    optimized: bool = True,
    arena: bool = True,
    prepacking: bool = True,
    alone: bool = True,
    verbose: bool = False,
) -> "InferenceSession":
    """Load the ONNX file `model` on one provider, with `threads` intra-op threads and onnxruntime's defaults otherwise.

    What the provider does not accept is left to the CPU provider.

    Args:
        threads: 0 for onnxruntime's own choice.
        weights_folder: where the data files lie that the model refers to, if not beside it.
        profile: start of the name of the file into which onnxruntime writes the time of every node, until
            `end_profiling`; empty for none.
        record_assignment: let `get_provider_graph_assignment_info` of the session list which provider has which node.
        optimized: False runs the graph as it is in the file.
        arena: False gives memory back to the system whenever a tensor is freed.
        prepacking: False leaves weights as they are stored.
        alone: False where another session of this process runs in turn with this one: the threads rest after each run.
            Otherwise they spin for some 50 ms, on the cores that the other session needs.
        verbose: everything is logged to standard error, which is where providers say why they leave a node.

    Raises:
        ModelFileError: onnxruntime refuses the file.
        OutOfMemory: memory ran out.
        EdgeprofError: the provider is not part of this onnxruntime or was not used.
    """
    import onnxruntime

    process.step(f"loading {model}")
    options = session_options(target, threads, weights_folder)
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    if record_assignment:
        options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    if not prepacking:
        options.add_session_config_entry(DISABLE_PREPACKING, "1")
    if not alone:
        options.add_session_config_entry(STOP_SPINNING, "1")
    if verbose:
        options.log_severity_level = 0
    with ort_errors(partial(not_loaded, model, target)):
        session = create_session(source(model, weights_folder), target, options)
    process.step(f"running {model}")
    return session


def open_request(request: Request, **options: Any) -> "InferenceSession":
    """As `open_session`, for what a child is to load."""
    return open_session(
        request.model,
        request.target,
        request.threads,
        weights_folder=request.weights_folder,
        arena=request.arena,
        prepacking=request.prepacking,
        **options,
    )


def create_session(model: str | bytes, target: Target, options: "SessionOptions") -> "InferenceSession":
    """The one place where a session is created: on the provider requested, or not at all.

    Args:
        model: path or contents of an ONNX file.

    Raises:
        EdgeprofError: onnxruntime did not use the provider.
        Exception: whatever onnxruntime raises; call it within `ort_errors`.
    """
    import onnxruntime

    moment = ort_messages.mark()
    # enable_fallback=0: otherwise the Python wrapper retries a failed provider on the CPU.
    session = onnxruntime.InferenceSession(model, options, **built_in(target), enable_fallback=0)
    session.disable_fallback()
    active = session.get_providers()
    if active[:1] != [target.runtime_name]:
        logged = ort_messages.errors(ort_messages.since(moment))[-1:]
        ran = "; ".join([f"the session is on {', '.join(active)}", *logged])
        raise EdgeprofError(f"{target.runtime_name} was not used: {ran}.", "Run: edgeprof devices")
    return session


def session_options(target: Target, threads: int = 0, weights_folder: str = "") -> "SessionOptions":
    """Options of a session on a provider; a plugin is registered and its best device added.

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
    """What to load a model from: its path, beside which its weights lie, or its bytes where they lie elsewhere.

    Weights are mapped into memory either way.
    """
    if not weights_folder:
        return model
    return read_bytes(Path(model), ModelFileError, "Run the command again.")


def built_in(target: Target) -> dict[str, Any]:
    """Arguments that select a provider built into onnxruntime; the CPU provider is not added: it would hide errors."""
    if target.library:
        return {}
    return {"providers": [target.runtime_name], "provider_options": [target.options]}


def converted(session: "InferenceSession", feeds: "dict[str, NDArray[Any]]") -> "dict[str, Any]":
    """Feeds in the floating-point types of a session's inputs (a KV cache may be fp16), sequences as lists."""
    types = {value.name: value.type for value in session.get_inputs()}
    floats = {name: FLOATS[kind] for name, kind in types.items() if kind in FLOATS}
    return {
        name: list(array)
        if types.get(name, "").startswith("seq(")
        else array.astype(floats.get(name, array.dtype), copy=False)
        for name, array in feeds.items()
    }
