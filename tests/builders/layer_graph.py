"""A decoder of one layer as an old exporter writes it: attention in parts, no names that say what a node is for."""

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

WIDTH, HEADS, VOCABULARY = 8, 2, 11

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
decoder (int64[1, n] ids) => (float[1, n, 11] logits)
{
    n0 = Gather(table, ids)
    n1 = LayerNormalization(n0, gain)
    n2 = MatMul(n1, wq)
    n3 = Add(n2, bias)
    n4 = MatMul(n1, wk)
    n5 = MatMul(n1, wv)
    q4 = Reshape(n3, split)
    q = Transpose<perm = [0, 2, 1, 3]>(q4)
    k4 = Reshape(n4, split)
    k = Transpose<perm = [0, 2, 3, 1]>(k4)
    v4 = Reshape(n5, split)
    v = Transpose<perm = [0, 2, 1, 3]>(v4)
    s = MatMul(q, k)
    scaled = Mul(s, half)
    p = Softmax(scaled)
    c = MatMul(p, v)
    ct = Transpose<perm = [0, 2, 1, 3]>(c)
    joined = Reshape(ct, whole)
    o = MatMul(joined, wo)
    r = Add(n0, o)
    m1 = LayerNormalization(r, gain)
    up = MatMul(m1, wup)
    act = Relu(up)
    down = MatMul(act, wdown)
    r2 = Add(r, down)
    last = LayerNormalization(r2, gain)
    logits = MatMul(last, whead)
}
"""

MODULES = {
    "embedding": ["n0"],
    "norms and residuals": ["n1", "r", "m1", "r2", "last"],
    "attention projections": ["n2", "n3", "n4", "n5", "q4", "q", "k4", "k", "v4", "v", "o"],
    "attention scores": ["s", "scaled", "p", "c", "ct", "joined"],
    "MLP": ["up", "act", "down"],
    "head": ["logits"],
}
"""Where each node belongs, by its result."""


def model() -> onnx.ModelProto:
    """Its nodes are named after their results."""
    parsed = parser.parse_model(TEXT)
    for node in parsed.graph.node:
        node.name = node.output[0]
    shapes = {
        "table": (VOCABULARY, WIDTH),
        "gain": (WIDTH,),
        "bias": (WIDTH,),
        "wup": (WIDTH, 32),
        "wdown": (32, WIDTH),
    }
    shapes |= dict.fromkeys(("wq", "wk", "wv", "wo"), (WIDTH, WIDTH)) | {"whead": (WIDTH, VOCABULARY)}
    values = {name: np.random.default_rng(0).standard_normal(shape, np.float32) for name, shape in shapes.items()}
    values |= {"half": np.float32(0.5).reshape(1)}
    sizes = {"split": [1, -1, HEADS, WIDTH // HEADS], "whole": [1, -1, WIDTH]}
    parsed.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    parsed.graph.initializer.extend(
        helper.make_tensor(name, onnx.TensorProto.INT64, [len(size)], size) for name, size in sizes.items()
    )
    return parsed
