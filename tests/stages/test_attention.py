"""Attention written out, against onnxruntime's own operator and against numpy."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper

from edgeprof.errors import EdgeprofError
from edgeprof.stages import attention

Arrays = dict[str, Any]
INPUTS = ("q", "k", "v", "mask", "past_k", "past_v")
PRESENT = ("y", "present_k", "present_v")


def model(feeds: Arrays, outputs: tuple[str, ...] = ("y",), opset: int = 24, **attributes: Any) -> onnx.ModelProto:
    """One Attention over the feeds that there are."""

    def value(name: str, array: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    names = [name if name in feeds else "" for name in INPUTS]
    node = helper.make_node("Attention", names, outputs, name="attention", **attributes)
    kind = helper.np_dtype_to_tensor_dtype(feeds["q"].dtype)
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph([node], "g", [value(*pair) for pair in feeds.items()], results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def written_out(source: onnx.ModelProto, count: int = 1, **options: Any) -> onnx.ModelProto:
    changed = ir.from_proto(source)
    assert attention.decompose(changed, **options) == count
    proto: onnx.ModelProto = ir.to_proto(changed)
    assert "Attention" not in {node.op_type for node in proto.graph.node}
    return proto


def run(source: onnx.ModelProto, feeds: Arrays) -> list[Any]:
    result: list[Any] = ort.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, feeds
    )
    return result


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


QKV = {"q": normal(2, 4, 5, 8), "k": normal(2, 4, 7, 8, seed=1), "v": normal(2, 4, 7, 6, seed=2)}
JOINED = {"q": normal(2, 5, 32), "k": normal(2, 7, 32, seed=1), "v": normal(2, 7, 24, seed=2)}
PAST = {"past_k": normal(2, 4, 2, 8, seed=3), "past_v": normal(2, 4, 2, 6, seed=4)}
EQUAL = {**QKV, "k": normal(2, 4, 5, 8, seed=1), "v": normal(2, 4, 5, 6, seed=2)}  # as many keys as queries
LOOK = np.random.default_rng(5).random((2, 1, 5, 7)) < 0.7
LOOK[..., 0] = True  # nobody looks at nothing

FORMS: dict[str, tuple[Arrays, tuple[str, ...], Arrays]] = {
    "plain": (QKV, ("y",), {}),
    "boolean mask": ({**QKV, "mask": LOOK}, ("y",), {"scale": 0.3}),
    "mask that is added": ({**QKV, "mask": normal(5, 7)}, ("y",), {}),
    "mask with minus infinity": ({**QKV, "mask": np.where(LOOK, 0, -np.inf).astype(np.float32)}, ("y",), {}),
    "mask of whole numbers": ({**QKV, "mask": LOOK.astype(np.int32)}, ("y",), {}),
    "mask of single bytes": ({**QKV, "mask": np.where(LOOK, 0, -100).astype(np.int8)}, ("y",), {}),
    "causal": (EQUAL, ("y",), {"is_causal": 1}),
    "causal, more keys": (QKV, ("y",), {"is_causal": 1}),
    "causal and a mask": ({**QKV, "mask": LOOK}, ("y",), {"is_causal": 1}),
    "past": ({**EQUAL, **PAST, "mask": LOOK}, PRESENT, {}),
    "causal past": ({**EQUAL, **PAST}, PRESENT, {"is_causal": 1}),
    "shared keys": ({**QKV, "k": normal(2, 2, 7, 8), "v": normal(2, 2, 7, 6)}, ("y",), {}),
    "shared keys after a past": (
        {
            **EQUAL,
            "k": normal(2, 2, 5, 8),
            "v": normal(2, 2, 5, 6),
            "past_k": normal(2, 2, 2, 8),
            "past_v": normal(2, 2, 2, 6),
        },
        PRESENT,
        {"is_causal": 1},
    ),
    "heads side by side": (JOINED, ("y",), {"q_num_heads": 4, "kv_num_heads": 4}),
    "shared keys side by side": (
        {**JOINED, "k": normal(2, 7, 16), "v": normal(2, 7, 12), "mask": LOOK},
        ("y",),
        {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1},
    ),
    "past of heads side by side": (
        {**JOINED, "k": normal(2, 5, 32, seed=1), "v": normal(2, 5, 24, seed=2), **PAST},
        PRESENT,
        {"q_num_heads": 4, "kv_num_heads": 4, "is_causal": 1},
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_it_computes_what_onnxruntime_computes(form: str, dtype: Any) -> None:
    built, outputs, attributes = FORMS[form]
    feeds = {name: array.astype(dtype) if array.dtype == np.float32 else array for name, array in built.items()}
    source = model(feeds, outputs, **attributes)
    allowed = 1e-6 if dtype == np.float32 else 2e-3
    for result, expected in zip(run(written_out(source), feeds), run(source, feeds), strict=True):
        assert result.dtype == expected.dtype == dtype
        assert np.abs(result.astype(float) - expected.astype(float)).max() < allowed


def test_it_computes_what_numpy_computes() -> None:
    """Operator set 23, and no operator of onnxruntime in the comparison."""
    scores = QKV["q"] @ QKV["k"].transpose(0, 1, 3, 2) / np.sqrt(8)
    weights = np.where(LOOK, np.exp(scores), 0)
    expected = weights / weights.sum(-1, keepdims=True) @ QKV["v"]
    (result,) = run(written_out(model({**QKV, "mask": LOOK}, opset=23)), {**QKV, "mask": LOOK})
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_what_may_look_at_nothing_gets_a_number() -> None:
    """The mean of all values, for scores that are all the same; by a mask that is added, near it."""
    plain = {name: array.astype(np.float16) for name, array in QKV.items()}
    for mask in (np.zeros((5, 7), bool), np.full((5, 7), -np.inf, np.float16)):
        feeds = {**plain, "mask": mask}
        (result,) = run(written_out(model(feeds)), feeds)
        assert np.isfinite(result).all()
        if mask.dtype == bool:
            assert np.abs(result - QKV["v"].mean(axis=2, keepdims=True)).max() < 2e-3


NOBODY = LOOK.copy()
NOBODY[0, 0, 3] = NOBODY[1, 0, 0] = False
ADDED = {"-inf": -np.inf, "lowest": np.finfo(np.float32).min}


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("form", ["boolean", "for all", "-inf", "lowest"])
def test_what_may_look_at_nothing_gets_zeros(form: str, causal: int) -> None:
    """Row 3 of the first sequence and row 0 of the second; by a causal mask too, which leaves row 0 only key 0."""
    mask = np.where(NOBODY, 0, ADDED[form]).astype(np.float32) if form in ADDED else NOBODY
    feeds = {**QKV, "mask": mask[0, 0] if form == "for all" else mask}
    source = model(feeds, is_causal=causal)
    (result,), (expected,) = run(written_out(source, empty_rows=True), feeds), run(source, feeds)
    assert (result[0, :, 3] == 0).all()
    assert (expected[0, :, 3] == 0).all()
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_value_that_nobody_looks_at_may_be_no_number() -> None:
    hidden = np.ones((5, 7), bool)
    hidden[2] = False
    feeds = {**QKV, "mask": hidden, "v": np.where(np.arange(7)[:, None] == 4, np.nan, QKV["v"]).astype(np.float32)}
    (result,) = run(written_out(model(feeds), empty_rows=True), feeds)
    assert (result[:, :, 2] == 0).all()


def test_scores_beyond_fp16_do_not_overflow() -> None:
    """A product of 8 x 100 x 100 = 80,000 is beyond fp16; a quarter of it is not."""
    feeds = {name: np.full((1, 1, 2, 8), number, np.float16) for name, number in (("q", 100), ("k", 100), ("v", 3))}
    (result,) = run(written_out(model(feeds, scale=0.25)), feeds)
    assert (result == 3).all()


@pytest.mark.parametrize(
    ("outputs", "attributes", "named"),
    [
        (("y",), {"softcap": 30.0}, "softcap"),
        ((*PRESENT, "scores"), {}, "its matrix of scores as an output"),
    ],
)
def test_what_is_not_written_out_is_named(outputs: tuple[str, ...], attributes: Arrays, named: str) -> None:
    with pytest.raises(EdgeprofError, match=f"Attention 'attention' uses .*{named}"):
        attention.decompose(ir.from_proto(model(QKV, outputs, **attributes)))


def test_whole_numbers_beside_a_causal_mask_are_refused() -> None:
    """onnxruntime 1.32 gives something else than scores with both masks."""
    feeds = {**QKV, "mask": LOOK.astype(np.int32)}
    with pytest.raises(EdgeprofError, match="uses a mask of whole numbers beside a causal one"):
        attention.decompose(ir.from_proto(model(feeds, is_causal=1)))


def test_two_without_names_in_a_file_that_tells_no_shapes() -> None:
    """Nothing but inputs and outputs is described: queries and mask come out of other nodes."""
    text = """<ir_version: 10, opset_import: ["": 24]> g (float[b, n, 32] x, float[n, n] seen) => (float[b, n, 32] y) {
        zero = Constant<value_float = 0.0>()
        mask = Greater(seen, zero)
        q = Neg(x)
        a = Attention<q_num_heads = 4, kv_num_heads = 4>(q, x, x, mask)
        y = Attention<q_num_heads = 4, kv_num_heads = 4>(a, x, x, mask)
    }"""
    source = onnx.parser.parse_model(text)
    feeds = {"x": normal(2, 5, 32), "seen": 1 + normal(5, 5)}
    (result,), (expected,) = run(written_out(source, 2), feeds), run(source, feeds)
    np.testing.assert_allclose(result, expected, atol=1e-6)
