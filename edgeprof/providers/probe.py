"""Whether a provider computes here: a small graph in a child process (`python -m edgeprof.providers.probe`).

Some providers kill the interpreter or hang; then only this child is lost. Nothing may fall back to the CPU, and the
result has to be right.
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
from edgeprof.schema import Kind, Record, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import OrtEpDevice

NO_CPU = "session.disable_cpu_ep_fallback"

SIZE = 8
TOLERANCE = 0.02
"""For values of about one: results in half precision are within it, those of any other graph are not."""

KINDS: tuple[Kind, ...] = ("NPU", "GPU", "CPU")
"""Of the devices that an unknown library finds, the first of these kinds is used."""


class ProbeRequest(Record, frozen=True, kw_only=True):
    target: Target
    models: tuple[bytes, ...]  # tried in turn: one that runs wholly on the provider, with the right result, is enough
    any_kind: bool = False  # use the kind of device that the library reports, not the target's


class ProbeResult(Record, frozen=True, kw_only=True):
    """Whether a provider computes, and on which device."""

    target: Target | None = None  # completed by what library and device report; None: no device
    computes: bool = False
    reason: str = ""  # why not
    vendor: str = ""
    timed_out: bool = False
    built_in: tuple[str, ...] = ()  # providers that are part of this onnxruntime


def probe(request: ProbeRequest, _progress: Progress) -> ProbeResult:
    """Open the provider and run; a refusal is a result, not an error."""
    import onnxruntime

    result = ProbeResult(built_in=tuple(onnxruntime.get_available_providers()))
    try:
        devices = plugins.devices(request.target) if request.target.library else []
    except EdgeprofError as problem:
        return replace(result, reason=problem.what.rstrip("."))
    target, devices = _completed(request, devices)
    refusals = [_refusal(model, target) for model in request.models]
    return replace(
        result,
        target=target,
        vendor=_hardware(target, devices).vendor,
        computes="" in refusals,
        reason="" if "" in refusals else refusals[0],
    )


def _completed(request: ProbeRequest, devices: "list[OrtEpDevice]") -> "tuple[Target, list[OrtEpDevice]]":
    """The target with what its library and device report, and those of the devices that are of its kind."""
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
    """The device as onnxruntime describes it; for built-in providers, the first of their kind that it lists."""
    import onnxruntime

    if devices:
        return devices[0].device
    listed = onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else []
    own = [one.device for one in listed if one.ep_name == target.runtime_name]
    others = [one.device for one in listed]
    return next((device for device in (*own, *others) if device.type.name == target.kind), _Unlisted)


class _Unlisted:
    vendor = ""
    metadata: dict[str, str] = {}  # noqa: RUF012  (an empty stand-in)


def _device_name(target: Target, devices: "list[OrtEpDevice]") -> str:
    if target.emulated:
        drivers = ", ".join(Path(driver).stem for driver in vulkan_drivers()) if target.preload else ""
        return target.software + (f" ({drivers})" if drivers else "")
    hardware = _hardware(target, devices)
    description = str(dict(hardware.metadata).get("Description", ""))
    return description or f"{hardware.vendor} {target.kind}".strip()


def _refusal(model: bytes, target: Target) -> str:
    """Why the provider does not compute this graph; "" where it does."""
    import numpy as np

    x = np.eye(SIZE, dtype=np.float32)
    try:
        with ort_errors(EdgeprofError):
            options = session_options(target)
            if not target.is_cpu:
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
    """MatMul, Add and Softmax; and MatMul alone, for providers with few operators. Static shapes, fp32."""
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
    """The output of the graph that ends with this operator, computed by numpy."""
    import numpy as np

    weights, bias = _constants()
    product: NDArray[Any] = x @ weights
    powers: NDArray[Any] = np.exp(product + bias)
    return product if output == "MatMul" else powers / powers.sum(axis=-1, keepdims=True)


if __name__ == "__main__":
    serve(probe, ProbeRequest)
