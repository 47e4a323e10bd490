"""Whether a provider computes here: a small graph in a child process (`python -m edgeprof.providers.probe`).

Some providers kill the interpreter or never come back; then only this child is lost. Nothing may fall back to the CPU,
and the result has to be right.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edgeprof.errors import EdgeprofError
from edgeprof.process import Progress, serve
from edgeprof.providers import plugins
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import create_session, session_options
from edgeprof.providers.table import vulkan_drivers
from edgeprof.schema import CPU, Kind, Record, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import OrtEpDevice

NO_CPU = "session.disable_cpu_ep_fallback"

SIZE = 8
TOLERANCE = 0.02
"""Of values of about one: half precision is right within it, and no other graph's result is."""

KINDS: tuple[Kind, ...] = ("NPU", "GPU", "CPU")
"""Of the devices of a library that nobody knows, the first of these is taken."""


class ProbeRequest(Record, frozen=True, kw_only=True):
    target: Target
    models: tuple[bytes, ...]  # tried in turn: one that is taken wholly, and computed right, is enough
    any_kind: bool = False  # the library tells what kind of device it drives, not the target


class Found(Record, frozen=True, kw_only=True):
    """What the child saw."""

    target: Target | None = None  # completed by what the library and the device tell; none where none was found
    computes: bool = False
    reason: str = ""  # why not
    vendor: str = ""
    timed_out: bool = False
    built_in: tuple[str, ...] = ()  # providers that are part of this onnxruntime


def probe(request: ProbeRequest, _progress: Progress) -> Found:
    """Open the provider and run; a refusal is an answer, not an error."""
    import onnxruntime

    found = Found(built_in=tuple(onnxruntime.get_available_providers()))
    try:
        devices = plugins.found(request.target) if request.target.library else []
        target, devices = _completed(request, devices)
        found = replace(found, target=target, vendor=_hardware(target, devices).vendor)
    except EdgeprofError as problem:
        return replace(found, reason=problem.what.rstrip("."))
    refusals = [_refusal(model, target) for model in request.models]
    return replace(found, computes="" in refusals, reason="" if "" in refusals else refusals[0])


def _completed(request: ProbeRequest, devices: "list[OrtEpDevice]") -> "tuple[Target, list[OrtEpDevice]]":
    """The target with what is known now, and those of the devices that it means."""
    target = request.target
    if not devices:
        return replace(target, device=_device_name(target, devices)), []
    if request.any_kind:
        kind = next(kind for kind in KINDS if any(one.device.type.name == kind for one in devices))
        target = replace(target, kind=kind)
    devices = plugins.of_kind(devices, target.kind)
    stands_in = bool(target.software) and target.kind != devices[0].device.type.name == "CPU"
    target = replace(target, runtime_name=devices[0].ep_name, emulated=target.emulated or stands_in)
    return replace(target, device=_device_name(target, devices)), devices


def _hardware(target: Target, devices: "list[OrtEpDevice]") -> Any:
    """The device as onnxruntime describes it; for built-in providers, the first of their kind that it sees."""
    import onnxruntime

    if devices:
        return devices[0].device
    seen = onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else []
    own = [one.device for one in seen if one.ep_name == target.runtime_name]
    others = [one.device for one in seen]
    return next((device for device in (*own, *others) if device.type.name == target.kind), _Unseen)


class _Unseen:
    vendor = ""
    metadata: dict[str, str] = {}  # noqa: RUF012  (an empty stand-in)


def _device_name(target: Target, devices: "list[OrtEpDevice]") -> str:
    if target.emulated:
        drivers = ", ".join(Path(driver).stem for driver in vulkan_drivers()) if target.preload else ""
        return target.software + (f" ({drivers})" if drivers else "")
    hardware = _hardware(target, devices)
    told = str(dict(hardware.metadata).get("Description", ""))
    return told or f"{hardware.vendor} {target.kind}".strip()


def _refusal(model: bytes, target: Target) -> str:
    """Why the provider does not compute this graph; "" where it does."""
    import numpy as np

    x = np.eye(SIZE, dtype=np.float32)
    try:
        with ort_errors(EdgeprofError):
            options = session_options(target)
            if target.runtime_name != CPU.runtime_name:
                options.add_session_config_entry(NO_CPU, "1")
            session = create_session(model, target, options)
            output = session.get_outputs()[0].name
            result = session.run([output], {"x": x})[0]
    except EdgeprofError as problem:
        return problem.what.rstrip(".")
    error = float(np.abs(result - expected(output, x)).max())
    return "" if error <= TOLERANCE else f"its result is wrong: a small graph is off by {error:.2g}"


# --- the graph -----------------------------------------------------------------------------------------


def models() -> tuple[bytes, ...]:
    """MatMul, Add and Softmax; and MatMul alone, for providers that know few operators. Static shapes, fp32."""
    return _model(("MatMul", "Add", "Softmax")), _model(("MatMul",))


def _model(operators: tuple[str, ...]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    inputs = {"MatMul": ["x", "weights"], "Add": ["MatMul", "bias"], "Softmax": ["Add"]}
    constants = dict(zip(("weights", "bias"), _constants(), strict=True))
    used = {name for operator in operators for name in inputs[operator]}
    graph = helper.make_graph(
        [helper.make_node(operator, inputs[operator], [operator]) for operator in operators],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE, SIZE])],
        [helper.make_tensor_value_info(operators[-1], TensorProto.FLOAT, [SIZE, SIZE])],
        [numpy_helper.from_array(constants[name], name) for name in constants if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _constants() -> "tuple[NDArray[Any], NDArray[Any]]":
    import numpy as np

    weights = np.sin(np.arange(SIZE * SIZE, dtype=np.float32)).reshape(SIZE, SIZE)
    return weights, np.cos(np.arange(SIZE, dtype=np.float32))


def expected(output: str, x: "NDArray[Any]") -> "NDArray[Any]":
    """What the graph whose last operator this is makes of x, by numpy."""
    import numpy as np

    weights, bias = _constants()
    product: NDArray[Any] = x @ weights
    powers: NDArray[Any] = np.exp(product + bias)
    return product if output == "MatMul" else powers / powers.sum(axis=-1, keepdims=True)


if __name__ == "__main__":
    serve(probe, ProbeRequest)
