"""Sessions: the provider asked for, or an error. Each way in which onnxruntime falls back unseen is provoked.

What a provider that took part does not run is seen in the placement: `tests/api/test_provider_placement.py`.
"""

import json
import subprocess
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.providers.session import open_session
from edgeprof.providers.table import here, target
from edgeprof.schema import CPU, Target

qnn_only = pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="QNN's emulator is for x86")


@pytest.fixture
def relu(tmp_path: Path) -> str:
    return save_relu(tmp_path / "relu.onnx", ["n"])


def save_relu(file: Path, dims: list[str | int]) -> str:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(file))
    return str(file)


def test_a_kernel_that_is_missing_is_named_with_its_type(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 22]> g (bfloat16[1, 1, 4] x, bfloat16[1, 1, 2] w)
        => (bfloat16[1, 1, 3] y) {
        h = Identity(x)
        [smooth] y = Conv(h, w)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "theirs.onnx")
    with pytest.raises(ModelFileError) as refusal:
        open_session(str(tmp_path / "theirs.onnx"))
    assert "the CPU provider cannot compute Conv of bfloat16 (operator set 22, node 'smooth')" in refusal.value.what


def test_an_operator_of_a_library_that_is_not_loaded_is_named(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "ai.onnx.contrib": 1]> g (string[n] x) => (int64[n] y) {
        y = ai.onnx.contrib.BertTokenizer(x)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "theirs.onnx")
    with pytest.raises(ModelFileError, match=r"no operator BertTokenizer of ai\.onnx\.contrib.*onnxruntime-extensions"):
        open_session(str(tmp_path / "theirs.onnx"))


def test_a_session_has_the_provider_and_threads_requested(relu: str) -> None:
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


# --- weights that lie elsewhere ------------------------------------------------------------------------


def test_weights_are_read_from_the_folder_given(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    values = np.arange(1024, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024])],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "weights" / "add.onnx"), save_as_external_data=True, location="add.data")
    alone = (tmp_path / "weights" / "add.onnx").rename(tmp_path / "add.onnx")
    with pytest.raises(ModelFileError, match=r"add\.data"):
        open_session(str(alone))
    session = open_session(str(alone), weights_folder=str(tmp_path / "weights"))
    (result,) = session.run(None, {"x": np.ones(1024, np.float32)})
    np.testing.assert_array_equal(result, values + 1)
    with pytest.raises(ModelFileError, match="cannot be read"):
        open_session(str(tmp_path / "gone.onnx"), weights_folder=str(tmp_path / "weights"))


# --- nothing falls back unseen -------------------------------------------------------------------------


def test_a_name_that_onnxruntime_does_not_know(relu: str) -> None:
    """By itself it warns, and runs on the CPU."""
    unknown = Target(provider="npu9", runtime_name="Npu9ExecutionProvider", kind="NPU")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fallen = onnxruntime.InferenceSession(relu, providers=[unknown.runtime_name])
    assert (len(warned), fallen.get_providers()) == (1, ["CPUExecutionProvider"])
    with pytest.raises(EdgeprofError, match="has no Npu9ExecutionProvider"):
        open_session(relu, unknown)


def test_a_library_that_is_none(relu: str, tmp_path: Path) -> None:
    (tmp_path / "libmine.so").write_text("not a library")
    mine = Target(provider="mine", runtime_name="mine", kind="NPU", library=str(tmp_path / "libmine.so"))
    with pytest.raises(EdgeprofError, match=r"onnxruntime cannot load .*libmine\.so: "):
        open_session(relu, mine)


FACTORY_FAILS = """
import json, sys
import onnxruntime
from edgeprof.errors import EdgeprofError
from edgeprof.providers.session import open_session
from edgeprof.schema import Target
options = {"device_type": "CPU", "load_config": "/no/such/file.json"}
fallen = onnxruntime.InferenceSession(
    sys.argv[1], providers=["OpenVINOExecutionProvider"], provider_options=[options]
).get_providers()
try:
    open_session(sys.argv[1], Target(provider="mine", runtime_name="OpenVINOExecutionProvider", options=options))
    told = ""
except EdgeprofError as problem:
    told = str(problem)
print(json.dumps([fallen, told]))
"""


def test_a_factory_that_fails(relu: str, openvino: Path) -> None:
    """By itself onnxruntime writes a line to its log, and runs on the CPU."""
    call = [openvino, "-c", FACTORY_FAILS, relu]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    fallen, summary = json.loads(done.stdout.splitlines()[-1])
    assert fallen == ["CPUExecutionProvider"]
    assert "OpenVINOExecutionProvider was not used" in summary


@qnn_only
def test_a_session_that_cannot_be_created_is_not_tried_again_on_the_cpu(tmp_path: Path) -> None:
    model, both = save_relu(tmp_path / "fixed.onnx", [4]), {"backend_type": "htp", "backend_path": "libQnnGpu.so"}
    with pytest.raises(EdgeprofError, match=r"qnn cannot load .*: Only one of 'backend_type' and 'backend_path'"):
        open_session(model, replace(target("qnn"), options=both))


class LostDevice:
    """A session of onnxruntime that fails in its first run as providers do whose device is lost. All else is real."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._inner, self._runs = session._sess, 0

    def run(self, *given: object) -> object:
        self._runs += 1
        if self._runs == 1:
            raise EPFail("the device was lost")
        return self._inner.run(*given)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_a_run_that_fails_is_not_tried_again_on_the_cpu(relu: str, capfd: pytest.CaptureFixture[str]) -> None:
    """By itself the Python wrapper prints a line, and runs on the CPU."""
    feed = {"x": np.array([-1, 2], np.float32)}
    by_itself, ours = onnxruntime.InferenceSession(relu), open_session(relu, CPU)
    by_itself._sess, ours._sess = LostDevice(by_itself), LostDevice(ours)
    (result,) = by_itself.run(None, feed)
    np.testing.assert_array_equal(result, [0, 2])
    assert "Falling back to ['CPUExecutionProvider'] and retrying" in capfd.readouterr().out
    with pytest.raises(EPFail, match="the device was lost"):
        ours.run(None, feed)
