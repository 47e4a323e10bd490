"""A graph that is broken on purpose is caught, whatever is broken, and the message names shape and difference."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_files import copy_of, edit

from edgeprof.errors import EdgeprofError, ModelFileError, VerificationError
from edgeprof.process import silent
from edgeprof.schema import Artifact, Precision
from edgeprof.stages.verify import verify


def first(model: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op_type)


def swap_an_operator(model: onnx.ModelProto) -> None:
    first(model, "Add").op_type = "Sub"


def change_an_attribute(model: onnx.ModelProto) -> None:
    node = first(model, "LayerNormalization")
    next(attribute for attribute in node.attribute if attribute.name == "epsilon").f = 0.1


def point_at_other_weights(model: onnx.ModelProto) -> None:
    """Two matrices of one shape, exchanged: what onnxsim does to graphs loaded without their data."""
    shape = max((tuple(w.dims) for w in model.graph.initializer), key=lambda dims: (len(dims) == 2, np.prod(dims)))
    one = next(w for w in model.graph.initializer if tuple(w.dims) == shape)
    offset = next(entry for entry in one.external_data if entry.key == "offset")
    offset.value = str(int(offset.value) + 4)


def fix_a_dimension(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def rename_an_input(model: onnx.ModelProto) -> None:
    old = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["ids" if name == old else name for name in node.input]
    model.graph.input[0].name = "ids"


def drop_the_batch(model: onnx.ModelProto) -> None:
    """The last output's own value, reshaped to one row."""
    output = model.graph.output[0]
    for node in model.graph.node:
        node.input[:] = ["whole" if name == output.name else name for name in node.input]
        node.output[:] = ["whole" if name == output.name else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, -1]), "one_row"))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["whole", "one_row"], [output.name], allowzero=0))
    output.type.tensor_type.ClearField("shape")


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (swap_an_operator, r"Output \S+ differs from PyTorch by \S+ at batch 1, tokens 1, past 0 \(allowed: \S+\)"),
        (change_an_attribute, r"Output \S+ differs from PyTorch by \S+ at batch \d, tokens \d, past 0"),
        (point_at_other_weights, r"Output \S+ differs from PyTorch by \S+ at batch 1, tokens 1, past 0"),
        (fix_a_dimension, r"Dimension 'sequence_length' of input_ids became fixed at 7"),
        (rename_an_input, r"Input input_ids is missing"),
        (drop_the_batch, r"Output \S+ has shape \(1, 128\), not \(1, 1, 128\), at batch 1, tokens 1, past 0"),
    ],
)
def test_a_broken_graph_is_caught(
    breaking: Callable[[onnx.ModelProto], None],
    message: str,
    artifacts: dict[tuple[str, str], Artifact],
    tmp_path: Path,
) -> None:
    broken = copy_of(artifacts["bert", "fp32"], tmp_path)
    edit(broken, breaking)
    with pytest.raises(VerificationError, match=message):
        verify(broken, silent)


def test_a_graph_that_is_right_at_one_shape_only_is_caught(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    """The KV cache is read as if it were empty: right without a past, wrong with one."""
    decoder = copy_of(artifacts["gpt2", "fp32"], tmp_path)

    def forget_the_past(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
        model.graph.node.insert(0, onnx.helper.make_node("Mul", ["past_key_values.0.key", "nothing"], ["forgotten"]))
        for node in list(model.graph.node)[1:]:
            node.input[:] = ["forgotten" if name == "past_key_values.0.key" else name for name in node.input]

    edit(decoder, forget_the_past)
    with pytest.raises(VerificationError, match=r"Output \S+ differs .* at batch 1, tokens 1, past 9"):
        verify(decoder, silent)


def test_values_that_are_not_numbers_fail_in_every_precision(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    broken = copy_of(artifacts["bert", "int8"], tmp_path)

    def take_a_logarithm(model: onnx.ModelProto) -> None:
        first(model, "Tanh").op_type = "Log"  # of the pooler, whose input is negative in half of its places

    edit(broken, take_a_logarithm)
    with pytest.raises(VerificationError, match="Output pooler_output is not finite at batch 1, tokens 1"):
        verify(broken, silent)


def test_a_quantized_file_is_compared_and_the_difference_kept(artifacts: dict[tuple[str, str], Artifact]) -> None:
    checks = verify(artifacts["vit", "int8"], silent).checks
    assert checks == artifacts["vit", "int8"].checks
    assert max(check.max_abs_error for check in checks) > 1e-3


def test_a_file_that_is_no_onnx_is_one_sentence(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    broken = copy_of(artifacts["bert", "fp32"], tmp_path)
    Path(broken.location).write_bytes(b"not a graph")
    with pytest.raises(ModelFileError, match="onnxruntime cannot load"):
        verify(broken, silent)


@pytest.mark.parametrize("content", [None, b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_reference_values_that_cannot_be_read_are_one_sentence(
    content: bytes | None, artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    broken = copy_of(artifacts["bert", "fp32"], tmp_path)
    file = Path(broken.location).with_name("reference.npz")
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EdgeprofError, match="--force") as error:
        verify(broken, silent)
    assert type(error.value) is VerificationError


def test_reference_values_of_nothing_prove_nothing(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    empty = copy_of(artifacts["bert", "fp32"], tmp_path)
    np.savez(Path(empty.location).with_name("reference.npz"))
    with pytest.raises(VerificationError, match="holds no cases"):
        verify(empty, silent)


def test_the_tolerance_follows_the_size_of_the_output(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    """1e-4 of the largest value: logits of 1,000 may differ by 0.1, and do not have to agree to the last digit."""
    artifact = copy_of(artifacts["bert", "fp32"], tmp_path)
    file = Path(artifact.location).with_name("reference.npz")
    with np.load(file) as archive:
        arrays = dict(archive)
    for name, value in arrays.items():
        if "/out/last_hidden_state" in name:
            value.flat[0] += 3e-4 * max(1.0, float(np.abs(value).max()))
    np.savez(file, **arrays)
    with pytest.raises(VerificationError, match="last_hidden_state differs"):
        verify(artifact, silent)
    assert verify(msgspec.structs.replace(artifact, precision=Precision(recipe="int8")), silent).checks
