"""An artifact of two graphs that share their weights: an encoder, and a decoder that attends to its states."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeprof
from edgeprof import store
from edgeprof.api.artifact_cache import make
from edgeprof.errors import RunError, VerificationError
from edgeprof.process import silent
from edgeprof.schema import Artifact, Case, Graph, GraphCount, Precision, Role, TensorSpec, WeightsSource
from edgeprof.stages import reference

WIDTH = 8
WEIGHT = np.arange(WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH) / 64
ENCODER = (("x", ("batch_size", "source_length", WIDTH)),)
DECODER = (("y", ("batch_size", "sequence_length", WIDTH)), ("states", ("batch_size", "source_length", WIDTH)))


def tensor(name: str, dims: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def write(file: Path, inputs: tuple[tuple[str, tuple[int | str, ...]], ...], *nodes: onnx.NodeProto) -> None:
    """A graph whose only weight is in the data file beside it."""
    weight = numpy_helper.from_array(WEIGHT, "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", store.WEIGHTS_FILE), ("offset", "0"), ("length", str(WEIGHT.nbytes))):
        weight.external_data.add(key=key, value=value)
    out = tensor(nodes[-1].output[0], inputs[0][1])
    graph = helper.make_graph(nodes, file.stem, [tensor(*one) for one in inputs], [out], [weight])
    file.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    )


def specs(*inputs: tuple[str, tuple[int | str, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, dtype="float32", dims=dims) for name, dims in inputs)


def build(folder: Path) -> Artifact:
    (folder / store.WEIGHTS_FILE).write_bytes(WEIGHT.tobytes())
    write(folder / "encoder.onnx", ENCODER, helper.make_node("MatMul", ["x", "w"], ["encoded"]))
    write(
        folder / "decoder.onnx",
        DECODER,
        helper.make_node("MatMul", ["y", "w"], ["projected"]),
        helper.make_node("ReduceSum", ["states"], ["summed"], keepdims=1),
        helper.make_node("Add", ["projected", "summed"], ["z"]),
    )
    x = np.linspace(-1, 1, 2 * 3 * WIDTH, dtype=np.float32).reshape(2, 3, WIDTH)
    case = Case(batch=2, tokens=3)
    reference.save(folder / "encoder.reference.npz", [(case, {"x": x}, {"encoded": x @ WEIGHT})])
    values = {"y": x, "states": 2 * x}
    reference.save(folder / "decoder.reference.npz", [(case, values, {"z": x @ WEIGHT + 2 * x.sum()})])

    def graph(role: Role, inputs: tuple[TensorSpec, ...], output: str, nodes: dict[str, int]) -> Graph:
        return Graph(
            role=role,
            path=str(folder / f"{role}.onnx"),
            opset=18,
            inputs=inputs,
            outputs=specs((output, inputs[0].dims)),
            count=GraphCount(nodes=nodes, weights_bytes=WEIGHT.nbytes),
        )

    return Artifact(
        name="two",
        precision=Precision(recipe="fp32"),
        weights=WeightsSource(kind="random"),
        graphs=(
            graph("encoder", specs(*ENCODER), "encoded", {"MatMul": 1}),
            graph("decoder", specs(*DECODER), "z", {"MatMul": 1, "ReduceSum": 1, "Add": 1}),
        ),
        params=WEIGHT.size,
    )


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    built, up_to_date = make(tmp_path / "two" / "fp32", "key", False, build, silent)
    assert not up_to_date
    return built


def test_graphs_are_found_by_role_and_by_phase(artifact: Artifact) -> None:
    assert [Path(graph.path).name for graph in artifact.graphs] == ["encoder.onnx", "decoder.onnx"]
    assert artifact.graph("encoder").inputs[0].name == "x"
    assert (artifact.graph_for("prefill"), artifact.graph_for("decode")) == artifact.graphs
    with pytest.raises(RunError, match=r"two has no graph 'model'; its graphs are: encoder, decoder"):
        artifact.graph()


def test_a_phase_may_have_a_graph_of_its_own(artifact: Artifact) -> None:
    first, second = artifact.graphs
    graphs = (msgspec.structs.replace(first, role="prefill"), msgspec.structs.replace(second, role="decode"))
    by_phase = msgspec.structs.replace(artifact, graphs=graphs)
    assert (by_phase.graph_for("prefill"), by_phase.graph_for("decode")) == graphs


def test_every_file_has_a_digest_and_weights_are_stored_once(artifact: Artifact) -> None:
    folder = artifact.folder
    assert artifact == store.load_artifact(folder)
    assert artifact.location == str(folder)
    assert artifact.files == (folder / "encoder.onnx", folder / "decoder.onnx", folder / "model.onnx.data")
    assert [graph.sha256 for graph in artifact.graphs] == [store.sha256_of(file) for file in artifact.files[:2]]
    assert artifact.data_sha256 == store.sha256_of(artifact.files[2])
    assert artifact.data_bytes == 4 * WIDTH * WIDTH
    changed = msgspec.structs.replace(artifact.graph("decoder"), sha256="0" * 64)
    assert artifact.with_graphs([changed]).sha256 != artifact.sha256
    assert make(folder, "key", False, build, silent) == (artifact, True)


def test_two_graphs_of_one_role_are_refused(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="two graphs have the same role"):
        msgspec.structs.replace(artifact, graphs=(artifact.graphs[0], artifact.graphs[0]))


@pytest.mark.parametrize("lost", ["encoder.onnx", "decoder.onnx", "model.onnx.data"])
def test_a_lost_file_is_named_by_its_folder(lost: str, artifact: Artifact) -> None:
    (artifact.folder / lost).unlink()
    with pytest.raises(RunError, match="has lost its model files"):
        store.load_artifact(artifact.folder)


def test_each_graph_is_verified_with_its_own_values(artifact: Artifact) -> None:
    (verified,) = edgeprof.verify([str(artifact.folder)])
    assert [len(graph.checks) for graph in verified.graphs] == [1, 1]
    assert max(check.max_abs_error for check in verified.checks) < 1e-5


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "model.onnx.data"])
def test_a_changed_file_is_noticed(name: str, artifact: Artifact) -> None:
    file = artifact.folder / name
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(VerificationError, match=rf"{name} is not the file that was exported"):
        edgeprof.verify([str(artifact.folder)])
