from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.providers.session import open_session, reason
from edgeprof.schema import Target


@pytest.fixture
def relu(tmp_path: Path) -> str:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    file = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(file))
    return str(file)


def test_a_session_has_the_provider_and_threads_asked_for(relu: str) -> None:
    session = open_session(relu, threads=3)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_session_options().intra_op_num_threads == 3


def test_a_provider_that_this_onnxruntime_lacks_is_refused(relu: str) -> None:
    missing = Target(provider="cuda", runtime_name="CUDAExecutionProvider", kind="GPU")
    assert missing.runtime_name not in onnxruntime.get_available_providers()
    with pytest.raises(EdgeprofError, match=r"has no CUDAExecutionProvider\. Run: edgeprof devices"):
        open_session(relu, missing, threads=1)


def test_what_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelFileError) as refusal:
        open_session(str(tmp_path / "text.onnx"), threads=1)
    assert refusal.value.what == f"onnxruntime cannot load {tmp_path / 'text.onnx'}: Protobuf parsing failed."


def test_reasons_are_one_line_without_codes() -> None:
    assert reason(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : It\nbroke.\n")) == "It broke"
    assert reason(ValueError()) == "ValueError"
