"""What onnxruntime logs and raises, as a sentence that people can use. The lines are as providers wrote them."""

import os
from pathlib import Path

import pytest

from edgeprof.providers import ort_messages

GENERAL = (
    "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default CPU EP, "
    "but fallback to CPU EP has been explicitly disabled by the user."
)
LOGGED = (
    "\x1b[1;31m2026-11-24 16:42:52.785608624 [E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] "
    "/onnxruntime/onnxruntime/core/providers/openvino/openvino_provider_factory.cc:141 std::string "
    "onnxruntime::openvino_ep::ParseDeviceType(std::shared_ptr<OVCore>, const onnxruntime::ProviderOptions&) "
    "[ERROR] [OpenVINO] Device GPU is not available\n\x1b[m"
)
ADAPTER = (
    "[ONNXRuntimeError] : 11 : EP_FAIL : /src/core/session/plugin_ep/ep_plugin_provider_interfaces.cc:393 virtual "
    "std::unique_ptr<onnxruntime::IExecutionProvider> onnxruntime::PluginExecutionProviderFactory::CreateProvider("
    "const OrtSessionOptions&, const OrtLogger&) [ONNXRuntimeError] : 11 : EP_FAIL : /src/webgpu_context.cc:136 "
    "onnxruntime::webgpu::WebGpuContext::Initialize(const onnxruntime::webgpu::WebGpuContextConfig&)::<lambda()> "
    "adapter_result.status == wgpu::RequestAdapterStatus::Success was false. Failed to get a WebGPU adapter: "
    "No supported adapters"
)


def test_a_general_error_gives_way_to_what_was_logged_before_it() -> None:
    assert ort_messages.reason(RuntimeError(GENERAL), LOGGED) == "Device GPU is not available"
    assert ort_messages.reason(RuntimeError(GENERAL)).startswith("This session contains graph nodes")


def test_a_specific_error_is_kept_without_source_locations() -> None:
    summary = "Failed to get a WebGPU adapter: No supported adapters"
    assert ort_messages.reason(RuntimeError(ADAPTER), LOGGED) == summary


def test_an_error_without_a_message_is_reported_by_its_class() -> None:
    assert ort_messages.reason(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : It\nbroke.\n")) == "It broke"
    assert ort_messages.reason(ValueError()) == "ValueError"


def test_a_node_that_fails_is_named() -> None:
    summary = (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'sum' "
        "Status Message: /src/onnxruntime/core/element_wise_ops.h:563 void onnxruntime::BroadcastIterator::Init("
        "ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. Attempting to broadcast an axis by a dimension "
        "other than 1. 3 by 4\n"
    )
    assert ort_messages.reason(RuntimeError(summary)) == (
        "Add 'sum': Attempting to broadcast an axis by a dimension other than 1. 3 by 4"
    )


BOUNDS = "indices element out of data bounds, idx=5 must be within the inclusive range [-3,2]"
TOLD = {
    f"[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running Gather node. "
    f"Name:'rows' Status Message: {BOUNDS}": f"Gather 'rows': {BOUNDS}",
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running If node. Name:'' Status "
    f"Message: Non-zero status code returned while running Gather node. Name:'' Status Message: {BOUNDS}": (
        f"Gather: {BOUNDS}"
    ),
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Concat node. Name:'join' Status "
    "Message: concatbase.h:135 PrepareForComputeImpl Non concat axis dimensions must match": (
        "Concat 'join': Non concat axis dimensions must match"
    ),
    "[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:Node (scores) Op (MatMul) [ShapeInferenceError] "
    "Incompatible dimensions for matrix multiplication": (
        "MatMul 'scores': Incompatible dimensions for matrix multiplication"
    ),
    '[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model. In Node, ("n", Nope, "", -1) : ("x": '
    'tensor(float),) -> ("y": tensor(float),) , Error No Op registered for Nope with domain_version of 21': (
        "Nope 'n': No Op registered for Nope with domain_version of 21"
    ),
    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Conv(22) node with name 'c'": (
        "Could not find an implementation for Conv(22) node with name 'c'"
    ),
    "[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:Fatal error: ai.onnx.contrib:"
    "SentencepieceTokenizer(-1) is not a registered function/op": (
        "it has no operator SentencepieceTokenizer of ai.onnx.contrib"
    ),
    "Required inputs (['x']) are missing from input feed ([]).": (
        "Required inputs (['x']) are missing from input feed ([])"
    ),
}


@pytest.mark.parametrize("raw", TOLD)
def test_operator_node_and_what_is_wrong_are_kept(raw: str) -> None:
    """As onnxruntime 1.32 raised them."""
    assert ort_messages.reason(RuntimeError(raw)) == TOLD[raw]


def test_a_file_that_does_not_load_is_named_once() -> None:
    """By whoever tells the reason."""
    summary = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Load model from a.onnx failed:Invalid model. No 'q'."
    assert ort_messages.reason(RuntimeError(summary)) == "Invalid model. No 'q'"


def test_messages_since_a_moment_are_read_back_from_a_file(tmp_path: Path) -> None:
    kept = os.dup(2)
    with (tmp_path / "said").open("w+b") as file:
        os.dup2(file.fileno(), 2)
        try:
            os.write(2, b"before\n")
            moment = ort_messages.mark()
            os.write(2, b"since\n")
            message = ort_messages.since(moment)
            os.write(2, b"after\n")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    assert message == "since\n"
    assert (tmp_path / "said").read_text() == "before\nsince\nafter\n"


def test_where_it_cannot_be_read_back_there_is_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert ort_messages.since(-1) == ""
