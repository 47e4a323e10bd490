"""Small ONNX models. Each reproduces one way in which real files differ from what a clean exporter writes.

    python make_cases.py OUT    # writes OUT/<case>.onnx; README.md lists the right outcome of each

Every function whose only parameter is `g` is a case. Needs numpy, ml_dtypes and onnx; every run writes the same bytes.
"""

import copy
import inspect
import itertools
import sys
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
from layers import (
    CACHE,
    HEAD,
    HEADS,
    ML,
    MLP,
    MS,
    D,
    V,
    attend,
    block,
    decoder,
    encoder,
    heads,
    hidden_state,
    ids_of,
    int4,
    length,
    linear,
    llama,
    lookup,
    mask_bias,
    nbits,
    norm,
    plain,
    qdq,
    tensorflow_bert,
    whisper,
)
from onnx import TensorProto as T
from onnx import helper, numpy_helper


class Graph:
    """A model under construction: `g(operator, *inputs)` adds a node and returns the names of its outputs."""

    def __init__(self, name):
        self.random, self.numbers = np.random.default_rng(zlib.crc32(name.encode())), itertools.count(1)
        self.nodes, self.inputs, self.outputs, self.weights, self.sparse, self.functions = [], [], [], [], [], []
        self.opsets, self.ir, self.dtype = {"": 17}, 8, np.float32
        self.file, self.content = f"{name}.onnx", None

    def __call__(self, operator, *inputs, outputs=1, domain="", **attributes):
        names = [f"{operator}_{next(self.numbers)}" for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, names[0], domain=domain, **attributes))
        self.opsets.setdefault(domain, 1)
        return names if outputs > 1 else names[0]

    def input(self, name, *dims, dtype=T.FLOAT, kind=None):
        self.inputs.append(helper.make_value_info(name, kind or helper.make_tensor_type_proto(dtype, dims)))
        return name

    def output(self, name, value, *dims, dtype=T.FLOAT, kind=None):
        """Make a value an output of the model, under another name."""
        for names in (names for node in self.nodes for names in (node.input, node.output)):
            names[:] = [name if old == value else old for old in names]
        self.outputs.append(helper.make_value_info(name, kind or helper.make_tensor_type_proto(dtype, dims)))

    def constant(self, array):
        """Add an initializer; a list of integers becomes int64."""
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"constant_{next(self.numbers)}"))
        return self.weights[-1].name

    def weight(self, *shape):
        return self.constant((0.2 * self.random.standard_normal(shape)).astype(self.dtype))

    def list_weights_as_inputs(self):
        self.inputs += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in self.weights]

    def inner(self):
        """A graph nested in this one, a branch or loop body, which can read the values outside."""
        graph = copy.copy(self)
        graph.nodes, graph.inputs, graph.outputs, graph.weights, graph.sparse = [], [], [], [], []
        return graph

    def proto(self):
        parts = (self.nodes, f"graph_{next(self.numbers)}", self.inputs, self.outputs, self.weights)
        return helper.make_graph(*parts, sparse_initializer=self.sparse)

    def save(self, out):
        opsets = [helper.make_opsetid(*item) for item in self.opsets.items()]
        model = helper.make_model(self.proto(), opset_imports=opsets, functions=self.functions, ir_version=self.ir)
        path = out / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content or model.SerializeToString(deterministic=True))


def write(names, out):
    """Write every case of a module, given its `globals()`: the functions it defines whose only parameter is `g`."""
    own = [f for f in names.values() if inspect.isfunction(f) and f.__module__ == names["__name__"]]
    for build in [f for f in own if [*inspect.signature(f).parameters] == ["g"]]:
        g = Graph(build.__name__)
        build(g)
        g.save(out)


# --- what axes are called ---


def enc_s(g):
    """torch.export named the dynamic sizes itself (s77, s27), and nobody renamed them."""
    encoder(g, "s77", "s27")


def enc_NM(g):
    """Dynamic axes named by hand with single letters."""
    encoder(g, "N", "M")


def enc_unk(g):
    """tf2onnx on a Keras model called with positional arguments: no input or axis has a meaningful name."""
    encoder(g, "unk__12", "unk__13", "args_0:0", "args_1:0", T.INT32)


def enc_unnamed(g):
    """A tool dropped the names of the dynamic axes; the inputs kept theirs."""
    encoder(g, None, None)


def ids_named(g):
    """The token axis has a name that is close to the usual ones but is none of them."""
    lookup(g, "batch_size", "sequence_len")


def ids_none(g):
    """Token ids only, with two dynamic axes and no name for either."""
    lookup(g, None, None)


def ids_b4(g):
    """Compiled for a board: batch 4 and 128 tokens, nothing left to choose."""
    lookup(g, 4, 128)


def minus1(g):
    """A converter wrote dim_value -1 for a dynamic axis; onnxruntime accepts it."""
    g.output("y", g("MatMul", g.input("x", -1, 3), g.weight(3, 4)), -1, 4)


def minus1_ids(g):
    """The same converter on a model that takes token ids."""
    lookup(g, -1, -1)


def torch_static(g):
    """torch.onnx.export without dynamic shapes: only the example's batch of 2 and 16 tokens are accepted."""
    encoder(g, 2, 16)


def baked_batch(g):
    """Traced at batch 1: the batch axis claims to be dynamic, but a Reshape inside fixes it at 1."""
    encoder(g, "batch_size", "sequence_length", baked=1)


def pos64(g):
    """A position table of 64 rows. No declared shape says so; longer inputs fail only at run time."""
    encoder(g, "batch_size", "sequence_length", positions=64)


def length_floor(g):
    """A speech front end whose reflect padding of 15 samples needs an input of at least 16."""
    x = g("Pad", g.input("input_values", "batch_size", "sequence_length"), g.constant([0, 15, 0, 15]), mode="reflect")
    x = g("Conv", g("Unsqueeze", x, g.constant([1])), g.weight(D, 1, 16), strides=[8], kernel_shape=[16])
    g.output("logits", linear(g, g("Transpose", x, perm=[0, 2, 1]), D, V), "batch_size", "frames", V)


def tf_op11(g):
    """BERT from TensorFlow 1 through tf2onnx: ':0' in names, int32, 32 fixed tokens, initializers listed as inputs."""
    g.opsets[""], g.ir = 11, 6
    tensorflow_bert(g)
    g.list_weights_as_inputs()


def whisper_fixed(g):
    """Whisper's encoder: 3000 fixed audio frames become 1500 tokens."""
    whisper(g, "batch_size", 80, 3000)


# --- caches ---


def dec_torch_s(g):
    """A decoder from torch.export: axes s0, s1 and s2, and a mask whose length is the sum of two of them."""
    decoder(g, "s0", "s1", "s2", "s1 + s2")


def dec_nested(g):
    """A decode step on its own: one new token, a mask axis that is a sum with a number, no prefill possible."""
    decoder(g, "batch_size", 1, "past_sequence_length", "past_sequence_length + 1")


def with_past(g):
    """optimum's decoder_with_past_model.onnx: a decode step with position ids."""
    decoder(g, "batch_size", 1, "past_sequence_length", "past_sequence_length + 1", positions=True)


def past_seq(g):
    """A decoder without a mask whose cache axis has an unusual name."""
    decoder(g, "batch", "seq", "past_seq", "total_seq", mask=False)


def static_past(g):
    """A decode step from an NPU vendor's tool: all sizes fixed, 7 cached tokens, its own names for the cache."""
    decoder(g, 1, 1, 7, 8, cache=("past_key_0_in", "past_value_0_in", "past_key_0_out", "past_value_0_out"))


def packedpast(g):
    """GPT-2 from onnxruntime's converter: one tensor [2, batch, heads, past, 16] holds a layer's keys and values."""
    ids = g.input("input_ids", "batch_size", "seq_len", dtype=T.INT64)
    bias = mask_bias(g, g.input("attention_mask", "batch_size", "total_seq_len"))
    halves = g("Split", g.input("past_0", 2, "batch_size", HEADS, "past_seq_len", HEAD), axis=0, outputs=2)
    x, *grown = block(g, g("Gather", g.weight(V, D), ids), bias, [g("Squeeze", x, g.constant([0])) for x in halves])
    g.output("logits", g("MatMul", norm(g, x), g.weight(D, V)), "batch_size", "seq_len", V)
    grown = g("Concat", *(g("Unsqueeze", x, g.constant([0])) for x in grown), axis=0)
    g.output("present_0", grown, 2, "batch_size", HEADS, "total_seq_len", HEAD)


def merged(g):
    """optimum's decoder_model_merged.onnx: an If selects the branch with or without the cache."""
    (ids,), mask = ids_of(g, "input_ids"), g.input("attention_mask", "batch_size", "total", dtype=T.INT64)
    past = [g.input(name, "batch_size", HEADS, "past_sequence_length", HEAD) for name in CACHE[:2]]
    flag, x = g.input("use_cache_branch", 1, dtype=T.BOOL), g("Gather", g.weight(V, D), ids)
    *projections, up, down = [g.weight(D, D) for _ in "qkvo"] + [g.weight(D, MLP), g.weight(MLP, D)]

    def branch(past):
        b = g.inner()
        q, k, v = (heads(b, b("MatMul", x, w)) for w in projections[:3])
        if past:
            k, v = (b("Concat", old, new, axis=2) for old, new in zip(past, (k, v), strict=True))
        y = b("Add", x, b("MatMul", attend(b, q, k, v, mask_bias(b, mask)), projections[3]))
        y = b("Add", y, b("MatMul", b("Relu", b("MatMul", y, up)), down))
        for value, *dims in ((y, "b", "s", D), (k, "b", HEADS, "t", HEAD), (v, "b", HEADS, "t", HEAD)):
            b.output(value, value, *dims)
        return b.proto()

    y, *grown = g("If", flag, outputs=3, then_branch=branch(past), else_branch=branch(()))
    g.output("logits", g("MatMul", y, g.weight(D, V)), "batch_size", "sequence_length", V)
    for name, value in zip(CACHE[2:], grown, strict=True):
        g.output(name, value, "batch_size", HEADS, "total", HEAD)


def gqa(g):
    """A Llama-style decoder as onnxruntime-genai's model builder writes it."""
    llama(g, plain)


def gqa_nbits(g):
    """The same decoder in 4 bits; embedding and LM head stay in fp32 and take more bytes than everything else."""
    llama(g, nbits)


# --- how weights are stored ---


def constants(g):
    """An exporter that writes weights as Constant nodes: the file has no initializers."""
    encoder(g, "batch_size", "sequence_length")
    g.nodes[:0] = [helper.make_node("Constant", [], [w.name], f"make_{w.name}", value=w) for w in g.weights]
    g.weights = []


def weights_as_inputs(g):
    """A PyTorch file of IR version 3, which requires every initializer to be listed as an input."""
    g.opsets[""], g.ir = 11, 3
    g.output("y", g("MatMul", g.input("x", "batch", D), g.weight(D, D)), "batch", D)
    g.list_weights_as_inputs()


def via_reshape(g):
    """A weight stored in another shape and reshaped before its product, followed by an ordinary product."""
    w = g("Reshape", g.weight(8, 8, D), g.constant([D, D]))
    g.output("y", plain(g, g("MatMul", g.input("x", "batch", D), w), D, D), "batch", D)


def zero_of_zero(g):
    """A classifier whose only matrix is reshaped before its product, after a convolution."""
    x = g("Flatten", g("Conv", g.input("x", 1, 4, 8, 8), g.weight(32, 4, 3, 3)))
    g.output("y", g("MatMul", x, g("Reshape", g.weight(8, 144, 128), g.constant([1152, 128]))), 1, 128)


def qdq_int8(g):
    """Quantized by another tool, with QuantizeLinear and DequantizeLinear; the embedding stays in fp32."""
    x = g("Gather", g.weight(V, D), *ids_of(g, "input_ids"))
    hidden_state(g, qdq(g, g("Relu", qdq(g, x, D, MLP)), MLP, D))


def dq_int4_axis0(g):
    """Weights in ONNX's int4 type with one scale per 32 rows of a column, as opset 21 allows."""
    g.opsets[""], g.ir = 21, 10
    x = g("Gather", g.weight(V, D), *ids_of(g, "input_ids"))
    hidden_state(g, int4(g, g("Relu", int4(g, x, D, MLP)), MLP, D))


def localfn(g):
    """torch.onnx.export with modules preserved as functions: the products are in the body of a local function."""
    body = [helper.make_node("MatMul", ["X", "W"], ["P"]), helper.make_node("Add", ["P", "B"], ["Y"])]
    opset = [helper.make_opsetid("", g.opsets[""])]
    g.functions = [helper.make_function("local", "Linear", ["X", "W", "B"], ["Y"], body, opset)]
    x = g("Gather", g.weight(V, D), *ids_of(g, "input_ids"))
    x = g("Relu", g("Linear", x, g.weight(D, MLP), g.weight(MLP), domain="local"))
    hidden_state(g, g("Linear", x, g.weight(MLP, D), g.weight(D), domain="local"))


def einsum(g):
    """Attention projections written as Einsum with three-dimensional weights, as JAX code does."""
    x = g("Einsum", g.input("x", "batch", "seq", D), g.weight(D, HEADS, HEAD), equation="bsd,dhk->bhsk")
    g.output("y", g("Einsum", x, g.weight(HEADS, HEAD, D), equation="bhsk,hkd->bsd"), "batch", "seq", D)


def moe3d(g):
    """Eight experts in one three-dimensional weight, run by a batched MatMul."""
    x = g("MatMul", g("Unsqueeze", g.input("x", "batch", "seq", D), g.constant([1])), g.weight(8, D, D))
    g.output("y", g("ReduceMean", x, axes=[1], keepdims=0), "batch", "seq", D)


def cnn(g):
    """Not a transformer: two convolutions for an NPU that expects 8-bit weights and 16-bit activations."""
    x = g("Relu", g("Conv", g.input("x", 1, 16, 16, 16), g.weight(32, 16, 3, 3)))
    g.output("y", g("Conv", x, g.weight(32, 32, 3, 3)), 1, 32, 12, 12)
    g.opsets[""], g.ir = 21, 10


# --- operators ---


def aionnx(g):
    """The standard operator set imported under the name "ai.onnx", which means the same as the empty name."""
    g.output("y", plain(g, g.input("x", "batch", 32), 32, D), "batch", D)
    g.opsets = {"ai.onnx": 17}


def ort_opt_ln(g):
    """Output of onnxruntime's transformer optimizer: LayerNormalization in opset 11, which does not define it."""
    x = g("LayerNormalization", g.input("x", "batch", "seq", D), g.weight(D), g.weight(D), axis=-1)
    g.output("y", plain(g, x, D, D), "batch", "seq", D)
    g.opsets[""] = 11


def group_norm(g, opset, scales):
    x = g("GroupNormalization", g.input("x", 1, 8, 16, 16), g.weight(scales), g.weight(scales), num_groups=2)
    g.output("y", g("Conv", x, g.weight(4, 8, 1, 1)), 1, 4, 16, 16)
    g.opsets[""], g.ir = opset, 10


def gn18(g):
    """GroupNormalization of opset 18, with one scale per group."""
    group_norm(g, 18, 2)


def gn21(g):
    """GroupNormalization of opset 21, with one scale per channel."""
    group_norm(g, 21, 8)


def fp16_attention(g):
    """A fused model in half precision: com.microsoft Attention, as onnxruntime's optimizer writes it."""
    g.dtype = np.float16
    x = g.input("x", "batch", "seq", D, dtype=T.FLOAT16)
    x = g("Attention", x, g.weight(D, 3 * D), g.weight(3 * D), domain=MS, num_heads=HEADS)
    g.output("y", plain(g, x, D, D), "batch", "seq", D, dtype=T.FLOAT16)


def pooler(g):
    """BERT's pooler as PyTorch exported it for years: the index of the first token is a scalar Constant node."""
    first = g("Constant", value=numpy_helper.from_array(np.array(0)))
    g.output("y", g("Gemm", g("Gather", g.input("x", "batch", "seq", D), first, axis=1), g.weight(D, D)), "batch", D)


def last_token(g):
    """A decoder that computes logits for the last token only, found through the size of its input."""
    x = g.input("x", "batch", "seq", D)
    x = g("Gather", x, g("Sub", length(g, x), g.constant(1)), axis=1)
    g.output("logits", plain(g, x, D, V), "batch", V)


def nokernel2(g):
    """A valid file that has no CPU kernel: a convolution in bfloat16."""
    w = g.constant(g.random.standard_normal((4, 3, 3, 3)).astype(ml_dtypes.bfloat16))
    x = g("Conv", g("Cast", g.input("x", 1, 3, 8, 8), to=T.BFLOAT16), w)
    g.output("y", g("Cast", x, to=T.FLOAT), 1, 4, 6, 6)
    g.opsets[""], g.ir = 22, 10


def customop(g):
    """A tokenizer inside the model, from a custom operator library that must be loaded first."""
    ids = g("SentencepieceTokenizer", g.input("text", "batch", dtype=T.STRING), domain="ai.onnx.contrib")
    g.output("embedding", plain(g, g("Gather", g.weight(V, D), ids), D, D), "batch", "tokens", D)


# --- inputs and outputs ---


def mask_zeros(g):
    """Keras names: input_2 is a mask, and if it is all zeros the mean over its tokens is 0 / 0."""
    ids, mask = (g.input(name, "batch", "seq", dtype=T.INT32) for name in ("input_1", "input_2"))
    kept = g("Unsqueeze", g("Cast", mask, to=T.FLOAT), g.constant([2]))
    x = g("Mul", plain(g, g("Gather", g.weight(V, D), ids), D, D), kept)
    total, count = (g("ReduceSum", value, g.constant([1]), keepdims=0) for value in (x, kept))
    g.output("embedding", plain(g, g("Div", total, count), D, D), "batch", D)


def passed_on(g, dtype):
    g.output("y", g("Identity", g.input("x", 1, 4, dtype=dtype)), 1, 4, dtype=dtype)
    g.opsets[""], g.ir = 21, 10


def bf16_input(g):
    """An input in bfloat16, a type that numpy lacks."""
    passed_on(g, T.BFLOAT16)


def fp8_input(g):
    """An input in 8-bit floating point, a type that numpy lacks."""
    passed_on(g, T.FLOAT8E4M3FN)


def string_input(g):
    """An input of strings."""
    passed_on(g, T.STRING)


def int4_input(g):
    """An input of 4-bit integers, two to a byte."""
    g.output("y", g("DequantizeLinear", g.input("x", 1, 4, dtype=T.INT4), g.constant(np.float32(0.5))), 1, 4)
    g.opsets[""], g.ir = 21, 10


def string_in(g):
    """Words go in as strings, and a table in the model maps them to ids."""
    words = {"keys_strings": ["a", "b"], "values_int64s": [1, 2], "default_int64": 0}
    ids = g("LabelEncoder", g.input("text", "batch", "seq", dtype=T.STRING), domain=ML, **words)
    g.output("embedding", plain(g, g("Gather", g.weight(V, D), ids), D, D), "batch", "seq", D)
    g.opsets[ML] = 2


def seq_out(g):
    """One output is a sequence of tensors, as in scripted PyTorch models that return a list of hidden states."""
    x = plain(g, g("Gather", g.weight(V, D), *ids_of(g, "input_ids")), D, D)
    tensors = helper.make_sequence_type_proto(helper.make_tensor_type_proto(T.FLOAT, ["batch_size", 1, D]))
    g.output("hidden_states", g("SplitToSequence", x, axis=1), kind=tensors)
    hidden_state(g, x)


def zipmap(g):
    """From scikit-learn's converter: the second output is a sequence of maps from class to probability."""
    x = g("Softmax", plain(g, g.input("float_input", None, 4), 4, 3))
    g.output("label", g("ArgMax", x, axis=1, keepdims=0), None, dtype=T.INT64)
    kind = helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, None))
    x = g("ZipMap", x, domain=ML, classlabels_int64s=[0, 1, 2])
    g.output("probabilities", x, kind=helper.make_sequence_type_proto(kind))


# --- files ---


def dup_a(g):
    """Every checkpoint's file is named model.onnx; only the folder tells them apart."""
    g.output("y", plain(g, g.input("x", "batch", "seq", D), D, D), "batch", "seq", D)
    g.file = "dup/a/model.onnx"


def dup_b(g):
    """The second file of the same name, with twice the weights."""
    g.output("y", plain(g, g.input("x", "batch", "seq", D), D, 2 * D), "batch", "seq", 2 * D)
    g.file = "dup/b/model.onnx"


def lfs(g):
    """A clone made without git-lfs: a three-line pointer file in place of the model."""
    address = f"https:{2 * '/'}git-lfs.github.com/spec/v1"
    g.content = f"version {address}\noid sha256:{'4f' * 32}\nsize 90405214\n".encode()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(globals(), Path(sys.argv[1]))
