"""`quantize` on files as people have them: compared at what they run at, under names of their own, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeprof import EdgeprofError, quantize
from edgeprof.errors import ModelFileError, QuantizationError
from edgeprof.schema import Artifact
from edgeprof.store import load_artifact

TOKENS = "(float[batch,seq,8] x) => (float[batch,seq,c] y)"


def normal(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def write(path: Path, text: str, **weights: Any) -> Path:
    """A file of a graph in ONNX's own syntax."""
    graph = onnx.parser.parse_graph(f"g {text}")
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    opsets = [
        helper.make_opsetid(*one) for one in {"": 18, **{node.domain: 1 for node in graph.node if node.domain}}.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def quantized(source: Path, recipe: str = "int8", **options: Any) -> Artifact:
    (one,) = quantize([str(source)], recipe=[recipe], models=source.parent / "models", **options)
    assert one.artifact is not None
    return one.artifact


def compared(artifact: Artifact) -> list[tuple[int, int]]:
    return [(check.case.batch, check.case.tokens) for check in artifact.checks]


# --- shapes and values -----------------------------------------------------------------------------------------


def test_a_batch_that_is_baked_in_is_not_doubled(tmp_path: Path) -> None:
    text = f"{TOKENS} {{ m = MatMul(x, w)  r = Reshape(m, s)  y = Add(r, x) }}".replace("seq,c", "seq,8")
    source = write(tmp_path / "baked.onnx", text, w=normal(8, 8), s=np.array([1, -1, 8]))
    assert compared(quantized(source)) == [(1, 16)]


def test_a_length_at_which_the_file_runs_is_detected(tmp_path: Path) -> None:
    """40 values are reflected, so that 64 is the first length tried that is long enough."""
    text = '(float[batch,seq,8] x) => (float[batch,t,c] y) { p = Pad<mode="reflect">(x, a)  y = MatMul(p, w) }'
    source = write(tmp_path / "padded.onnx", text, w=normal(8, 8), a=np.array([0, 40, 0, 0, 0, 0]))
    assert compared(quantized(source)) == [(1, 64)]
    assert compared(quantized(source, "a8w8", calibration="random", samples=3)) == [(1, 64)]


def test_a_file_that_runs_nowhere_is_one_sentence(tmp_path: Path) -> None:
    text = f"{TOKENS} {{ r = Reshape(x, s)  y = MatMul(r, w) }}"
    source = write(tmp_path / "nowhere.onnx", text, w=normal(8, 8), s=np.array([-1, 7, 8]))
    with pytest.raises(ModelFileError, match=r"(?s)runs on none of .* random inputs; .*Reshape.*--input"):
        quantized(source)
    assert [path.name for path in tmp_path.iterdir()] == ["nowhere.onnx"]


MEAN = """(int32[batch,seq] input_1, int32[batch,seq] input_2) => (float[batch,8] y) {
    v = Gather(t, input_1)  k = Cast<to=1>(input_2)  u = Unsqueeze(k, two)  m = Mul(v, u)
    a = ReduceSum<keepdims=0>(m, one)  b = ReduceSum<keepdims=0>(u, one)  d = Div(a, b)  y = MatMul(d, w)
}"""


def test_a_mask_under_another_name_is_not_all_zeros(tmp_path: Path) -> None:
    """The mean over no tokens is 0 / 0."""
    source = write(tmp_path / "mean.onnx", MEAN, t=normal(50, 8), w=normal(8, 8), one=np.array([1]), two=np.array([2]))
    artifact = quantized(source)
    assert all(0.999 < check.cosine < 1 and not check.notes for check in artifact.checks)


def test_an_output_without_a_number_is_named_and_others_are_compared(tmp_path: Path) -> None:
    text = """(float[batch,seq,8] x) => (float[batch,seq,8] y, float[batch,seq,8] z) {
        y = MatMul(x, w)  s = Sub(x, x)  z = Div(s, s)
    }"""
    artifact = quantized(write(tmp_path / "nan.onnx", text, w=normal(8, 8)))
    assert {check.notes for check in artifact.checks} == {("z has no finite number in fp32",)}
    assert all(0.99 < check.cosine < 1 for check in artifact.checks)


def test_infinities_of_the_source_are_accepted(tmp_path: Path) -> None:
    mask = np.where(np.arange(8) < 3, -np.inf, 0).astype(np.float32)
    source = write(tmp_path / "masked.onnx", f"{TOKENS} {{ m = MatMul(x, w)  y = Add(m, a) }}", w=normal(8, 8), a=mask)
    artifact = quantized(source)
    assert compared(artifact) == [(1, 16), (2, 5)]
    assert all(0.99 < check.cosine < 1 for check in artifact.checks)


@pytest.mark.parametrize(
    ("inputs", "options", "shapes"),
    [
        ("float[2,16,8] x", {}, [(2, 16)]),
        ("float[-1,8] x", {}, [(1, 0), (2, 0)]),
        ("float[s0,s1,8] input_embeds", {"dim": {"s0": 3, "s1": 4}}, [(3, 4)]),
        ("float[batch,seq,8] x", {"seq": [2, 6], "batch": [3]}, [(3, 2), (3, 6)]),
    ],
)
def test_sizes_that_a_file_fixes_or_a_user_asks_for(
    inputs: str, options: dict[str, Any], shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    kind, name = inputs.replace("-1", "n").split(" ")
    text = f"({kind} {name}) => ({kind} y) {{ y = MatMul({name}, w) }}"
    source = write(tmp_path / "net.onnx", text, w=normal(8, 8))
    if "-1" in inputs:
        model = onnx.load(source)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = -1
        onnx.save(model, source)
    assert compared(quantized(source, **options)) == shapes


def test_a_file_without_weights_is_refused_before_it_is_run(tmp_path: Path) -> None:
    source = write(tmp_path / "none.onnx", "(bfloat16[1,4] x) => (bfloat16[1,4] y) { y = Identity(x) }")
    with pytest.raises(QuantizationError, match="stores no matrix and no kernel: there is nothing to quantize"):
        quantized(source)


def test_a_users_samples_are_what_is_compared(tmp_path: Path) -> None:
    """Their shapes, of which the file has 3 tokens in common with nothing that is made up."""
    source = write(tmp_path / "plain.onnx", f"{TOKENS} {{ y = MatMul(x, w) }}", w=normal(8, 8))
    np.save(tmp_path / "x.npy", normal(6, 3, 8))
    artifact = quantized(source, calibration=str(tmp_path / "x.npy"))
    assert compared(artifact) == [(1, 3)]
    assert artifact.accuracy is not None


def test_sequences_and_maps_are_compared(tmp_path: Path) -> None:
    text = """(float[batch,4] x) => (int64[batch] label, float[batch,3] scores, float[1,3] first) {
        m = MatMul(x, w)  scores = Softmax(m)  label = ArgMax<axis=1, keepdims=0>(scores)
        maps = ai.onnx.ml.ZipMap<classlabels_int64s=[4,5,6]>(scores)
        parts = SplitToSequence<axis=0>(scores)  first = SequenceAt(parts, zero)
    }"""
    source = write(tmp_path / "maps.onnx", text, w=normal(4, 3), zero=np.array(0))
    model = onnx.load(source)
    numbers = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    labelled = helper.make_map_type_proto(onnx.TensorProto.INT64, numbers)
    model.graph.output.extend(
        helper.make_value_info(name, helper.make_sequence_type_proto(kind))
        for name, kind in (("maps", labelled), ("parts", numbers))
    )
    onnx.save(model, source)
    artifact = quantized(source)
    assert artifact.graph().quantization is not None
    assert artifact.graph().quantization.matmuls_quantized == 1
    assert [value.type for value in onnx.load(artifact.location).graph.output] == [
        value.type for value in onnx.load(source).graph.output
    ]
    assert all(check.cosine > 0.999 for check in artifact.checks)
    with pytest.raises(QuantizationError, match=r"The model has maps \(maps\), which 16-bit recipes do not support"):
        quantized(source, "fp16")


# --- places ----------------------------------------------------------------------------------------------------


def test_files_of_one_name_get_folders_of_their_own(tmp_path: Path) -> None:
    one, other = (
        write(tmp_path / folder / "model.onnx", f"{TOKENS} {{ y = MatMul(x, w) }}", w=normal(8, width))
        for folder, width in (("a", 8), ("b", 16))
    )
    out = tmp_path / "out"
    results = quantize([str(one), str(other)], recipe=["int8"], out=out)
    paths = [result.artifact.location for result in results if result.artifact]
    assert len(set(paths)) == 2
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]
    assert [load_artifact(out / name / "int8").params for name in "ab"] == [64, 128]
    assert [result.up_to_date for result in quantize([str(one), str(other)], recipe=["int8"], out=out)] == [True, True]


def test_a_result_of_another_file_is_not_replaced_without_force(tmp_path: Path) -> None:
    one, other = (
        write(tmp_path / folder / "net.onnx", f"{TOKENS} {{ y = MatMul(x, w) }}", w=normal(8, width))
        for folder, width in (("a", 8), ("b", 16))
    )
    out = tmp_path / "out"
    quantize([str(one)], recipe=["int8"], out=out)
    refusal = f"int8 holds a model that was made from {one}. Choose another folder with --out"
    with pytest.raises(QuantizationError, match=refusal):
        quantize([str(other)], recipe=["int8"], out=out)
    assert load_artifact(out / "net" / "int8").source == str(one)
    quantize([str(other)], recipe=["int8"], out=out, force=True)
    assert load_artifact(out / "net" / "int8").source == str(other)
    write(other, f"{TOKENS} {{ y = MatMul(x, w) }}", w=normal(8, 24))  # the same file, made again
    quantize([str(other)], recipe=["int8"], out=out)


def test_an_exported_model_is_not_replaced_by_a_file(models: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "bert-tiny.onnx", f"{TOKENS} {{ y = MatMul(x, w) }}", w=normal(8, 8))
    with pytest.raises(QuantizationError, match="int8 holds a model that was made from the exported model bert-tiny"):
        quantize([str(source)], recipe=["int8"], models=models)


@pytest.mark.parametrize(
    ("text", "weight", "sentence"),
    [
        (
            "y = MatMul(x, w)",
            normal(2, 8, 8),
            "None of the 1 weight matmuls was quantized by int8: it has 3 dimensions.",
        ),
        ("y = Add(x, x)", normal(8, 8), "int8 has nothing to quantize: the model multiplies by no constant matrix."),
        ("a = Cast<to=10>(x) b = MatMul(a, w) y = Cast<to=1>(b)", normal(8, 8).astype(np.float16), "float16 weights"),
        (
            "q = MatMulInteger(i, w) y = Cast<to=1>(q)",
            np.ones((8, 8), np.int8),
            "quantized already: it has MatMulInteger",
        ),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(text: str, weight: Any, sentence: str, tmp_path: Path) -> None:
    dims = "2,seq,8" if weight.ndim == 3 else "batch,seq,8"
    given = "int8[batch,seq,8] i" if "(i" in text else f"float[{dims}] x"
    source = write(tmp_path / "net.onnx", f"({given}) => (float[{dims}] y) {{ {text} }}", w=weight)
    with pytest.raises(EdgeprofError, match=sentence) as caught:
        quantize([str(source)], recipe=["int8"], out=tmp_path / "new" / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
