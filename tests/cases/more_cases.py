"""More files as people have them: encoder-decoders, images, shared and turned caches, weights in odd places.

Built like those of `make_cases.py`: every function whose only parameter is `g` is a case.
"""

import numpy as np
from layers import (
    CACHE,
    HEAD,
    HEADS,
    MS,
    D,
    V,
    attend,
    block,
    decoder,
    encoder,
    heads,
    linear,
    mask_bias,
    norm,
    plain,
)
from onnx import TensorProto as T
from onnx import helper, numpy_helper


def words(g, *dims, name="input_ids"):
    return g("Gather", g.weight(V, D), g.input(name, *dims, dtype=T.INT64))


def decoded(g, x, cache, grown, *dims, bias=None, out=lambda value: value):
    """A block over a cache, an LM head, and the grown cache under other names."""
    x, *values = block(g, x, bias, cache)
    g.output("logits", plain(g, norm(g, x), D, V), None, None, V)
    for name, value in zip(grown, values, strict=True):
        g.output(name, out(value), *dims)


# --- encoder-decoders ---


def whisper_dec(g):
    """A decoder that looks at encoder states, whose length is an expression of the encoder's."""
    x = words(g, "batch", "decoder_sequence_length", name="decoder_input_ids")
    states = g.input("encoder_hidden_states", "batch", "encoder_sequence_length / 2", D)
    q, k, v = (heads(g, linear(g, value, D, D)) for value in (x, states, states))
    x = g("Add", x, linear(g, attend(g, q, k, v), D, D))
    g.output("logits", plain(g, x, D, V), "batch", "decoder_sequence_length", V)


def t5_past(g):
    """A decode step with two caches: its own grows, the encoder's does not."""
    x = words(g, "batch", 1)
    mask = g.input("encoder_attention_mask", "batch", "encoder_sequence_length", dtype=T.INT64)
    own = [
        g.input(f"past_key_values.0.decoder.{one}", "batch", HEADS, "past_decoder_sequence_length", HEAD)
        for one in ("key", "value")
    ]
    k, v = (
        g.input(f"past_key_values.0.encoder.{one}", "batch", HEADS, "encoder_sequence_length_out", HEAD)
        for one in ("key", "value")
    )
    x, *grown = block(g, x, None, own)
    x = g("Add", x, linear(g, attend(g, heads(g, linear(g, x, D, D)), k, v, mask_bias(g, mask)), D, D))
    g.output("logits", plain(g, x, D, V), "batch", 1, V)
    for name, value in zip(("present.0.decoder.key", "present.0.decoder.value"), grown, strict=True):
        g.output(name, value, "batch", HEADS, "past_decoder_sequence_length + 1", HEAD)


# --- images ---


def patches(g, pixels, size):
    x = g("Conv", pixels, g.weight(D, 3, size, size), g.weight(D), strides=[size, size], kernel_shape=[size, size])
    return g("Transpose", g("Reshape", x, g.constant([0, D, -1])), perm=[0, 2, 1])


def vit_dynamic(g):
    """optimum's ViT: every axis is dynamic, the channels too."""
    x = patches(g, g.input("pixel_values", "batch_size", "num_channels", "height", "width"), 16)
    g.output("last_hidden_state", norm(g, block(g, x)[0]), "batch_size", None, D)


def clip(g):
    """Two towers in one graph, with a batch each."""
    encoder(g, "text_batch_size", "sequence_length")
    text = g.outputs.pop().name
    pixels = g.input("pixel_values", "image_batch_size", "num_channels", "height", "width")
    image = norm(g, block(g, patches(g, pixels, 32))[0])
    text, image = (g("Gather", value, g.constant(0), axis=1) for value in (text, image))
    dims = ("text_batch_size", "image_batch_size")
    g.output("logits_per_text", g("MatMul", text, g("Transpose", image, perm=[1, 0])), *dims)


# --- caches ---


def shared_buffer(g):
    """onnxruntime-genai with past and present in one buffer of 64 tokens; numbers tell how many are used."""
    x = words(g, "batch_size", "sequence_length")
    past = [g.input(name, "batch_size", 2, 64, HEAD) for name in CACHE[:2]]
    last = g.input("seqlens_k", "batch_size", dtype=T.INT32)
    total = g.input("total_sequence_length", dtype=T.INT32)
    q, k, v = (plain(g, x, D, size) for size in (D, 2 * HEAD, 2 * HEAD))
    options = {"domain": MS, "num_heads": HEADS, "kv_num_heads": 2}
    x, *grown = g("GroupQueryAttention", q, k, v, *past, last, total, outputs=3, **options)
    g.output("logits", plain(g, x, D, V), "batch_size", "sequence_length", V)
    for name, value in zip(CACHE[2:], grown, strict=True):
        g.output(name, value, "batch_size", 2, 64, HEAD)


def bloom(g):
    """Batch and heads share an axis of the cache, and keys lie transposed."""
    x = words(g, "batch_size", "sequence_length")
    key = g.input(CACHE[0], "batch_size x num_heads", HEAD, "past_sequence_length")
    value = g.input(CACHE[1], "batch_size x num_heads", "past_sequence_length", HEAD)
    key = g("Transpose", key, perm=[0, 2, 1])
    cache = [g("Unsqueeze", one, g.constant([0])) for one in (key, value)]
    x, key, value = block(g, x, None, cache)
    g.output("logits", plain(g, norm(g, x), D, V), "batch_size", "sequence_length", V)
    key, value = (g("Squeeze", one, g.constant([0])) for one in (key, value))
    g.output(CACHE[2], g("Transpose", key, perm=[0, 2, 1]), "batch_size x num_heads", HEAD, None)
    g.output(CACHE[3], value, "batch_size x num_heads", None, HEAD)


def xlnet(g):
    """Transformer-XL's memory: hidden states with the batch in axis 1."""
    x = words(g, "batch", "seq")
    old = g("Transpose", g.input("mems_0", "mem_len", "batch", D), perm=[1, 0, 2])
    both = g("Concat", old, x, axis=1)
    q, k, v = (heads(g, plain(g, value, D, D)) for value in (x, both, both))
    g.output("logits", plain(g, attend(g, q, k, v), D, V), "batch", "seq", V)
    g.output("new_mems_0", g("Transpose", both, perm=[1, 0, 2]), "mem_len + seq", "batch", D)


def time_major(g):
    """Token ids with the batch in axis 1, as fairseq has them."""
    x = g("Transpose", words(g, "src_len", "batch", name="src"), perm=[1, 0, 2])
    q, k, v = (heads(g, plain(g, x, D, D)) for _ in "qkv")
    g.output("y", attend(g, q, k, v), "batch", "src_len", D)


def positions_3d(g):
    """Three kinds of positions in one input, and a table of 128 rows."""
    x = words(g, "batch", "seq")
    rows = g("Gather", g.weight(128, D), g.input("position_ids", 3, "batch", "seq", dtype=T.INT64))
    x = g("Add", x, g("ReduceSum", rows, g.constant([0]), keepdims=0))
    decoded(
        g, x, [g.input(name, "batch", HEADS, "past", HEAD) for name in CACHE[:2]], CACHE[2:], None, HEADS, None, HEAD
    )


def zero_past(g):
    """Compiled for prefill: eight tokens, and a cache that is always empty."""
    decoder(g, 1, 8, 0, 8)


# --- weights ---


def einsum3(g):
    """A low-rank weight in two factors, multiplied by one Einsum."""
    x = g.input("x", "batch", "seq", D)
    g.output("y", g("Einsum", x, g.weight(D, 8), g.weight(8, D), equation="bsd,dr,rk->bsk"), "batch", "seq", D)


def chain(g):
    """A weight stored flat in fp16, and cast, reshaped and transposed before its product."""
    w = g.constant(g.random.standard_normal(D * 256).astype(np.float16))
    w = g("Reshape", g("Identity", g("Cast", w, to=T.FLOAT)), g.constant([256, D]))
    g.output("y", g("MatMul", g.input("x", "batch", D), g("Transpose", w, perm=[1, 0])), "batch", 256)


def sparse(g):
    """A weight of which eight values are stored."""
    values = numpy_helper.from_array(np.arange(1, 9, dtype=np.float32), "w")
    places = numpy_helper.from_array(np.arange(8) * 65, "places")
    g.sparse = [helper.make_sparse_tensor(values, places, [D, D])]
    g.output("y", g("MatMul", g.input("x", "batch", D), "w"), "batch", D)


# --- inputs and values ---


def sequence(g):
    """An input that is a sequence of tensors."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(T.FLOAT, ["batch", D]))
    x = g("ConcatFromSequence", g.input("xs", kind=kind), axis=0)
    g.output("y", plain(g, x, D, D), None, D)


def no_inputs(g):
    """A graph that takes nothing."""
    g.output("y", g("MatMul", g.weight(4, D), g("Relu", g.weight(D, D))), 4, D)


def nan_output(g):
    """An output with a value that is not a number, whatever goes in."""
    g.output("y", plain(g, g.input("x", "batch", D), D, D), "batch", D)
    g.output("z", g("Neg", g.constant(np.array([np.nan, 1], np.float32))), 2)
