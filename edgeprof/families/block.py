"""The parts of a transformer block: attention and an MLP, each with a norm.

In GPT-2, BERT and ViT a block costs the same. With width d, inner width i (4 d by default), and b sequences of n tokens
that attend to m keys each:

    Q, K, V        3 d^2 weights     3 b n d^2 MACs
    scores         -                 b n m d          all heads together, each d / heads wide
    weighted sum   -                 b n m d
    output         d^2               b n d^2
    MLP            2 d i             2 b n d i
    norms          2 x 2 d           not counted

With biases and i = 4 d that is 12 d^2 + 13 d parameters: Vaswani et al. 2017, "Attention is all you need", section 3;
the count also in Kaplan et al. 2020, "Scaling laws for neural language models", table 1. The MACs are those of full
matrices: onnxruntime's kernels compute no less under a causal mask.
"""

import msgspec

from edgeprof.families.base import Component

TIED = "The LM head shares the matrix of the token embedding: its parameters are counted there, its MACs here."


def block(
    *,
    layers: int,
    width: int,
    inner: int,
    heads: int,
    batch: int,
    queries: int,
    keys: int,
    qkv_bias: bool = True,
    cached: bool = False,
    prefix: str = "",
) -> tuple[Component, ...]:
    """The parts of `layers` equal blocks, for `batch` sequences of `queries` tokens that attend to `keys` tokens."""
    rows = batch * queries
    stream = rows * width
    return repeated(
        layers,
        *attention(
            width=width,
            heads=heads,
            batch=batch,
            queries=queries,
            keys=keys,
            projected=queries,
            bias=qkv_bias,
            cached=cached,
            kept=stream,
            normed=stream,
        ),
        output_projection(width, width, rows),
        *mlp(width, inner, rows),
        block_norms(2, width, rows),
        prefix=prefix,
    )


def repeated(layers: int, *parts: Component, prefix: str = "") -> tuple[Component, ...]:
    """The parts of one block, in all of them.

    Args:
        prefix: of the names, where a model has blocks of several kinds: "decoder ".
    """
    return tuple(
        msgspec.structs.replace(part, name=prefix + part.name, count=layers * part.count, in_block=not prefix)
        for part in parts
    )


def attention(
    *,
    width: int,
    heads: int,
    kv_heads: int | None = None,
    head: int | None = None,
    batch: int,
    queries: int,
    keys: int,
    projected: int,
    kept: int,
    normed: int = 0,
    bias: bool = True,
    key_bias: bool | None = None,
    cached: bool = False,
) -> tuple[Component, ...]:
    """Projections to queries, keys and values, and attention over them.

    With grouped queries (Ainslie et al. 2023, "GQA", section 2.2) several heads share the keys and values of one:
    projections and KV cache are smaller, scores and weighted sum are not.

    Args:
        kv_heads: heads of keys and values; as many as of queries by default.
        head: width of a head; by default its share of the width.
        keys: tokens that a query attends to; `projected` of them get their keys and values in this run.
        kept: elements that are alive throughout: the residual stream, or inputs.
        normed: elements that are alive until queries, keys and values are computed: the norm of the residual stream.
        key_bias: whether keys have a bias, where queries and values do not have the same.
    """
    head, kv_heads = head or width // heads, kv_heads or heads
    wide, narrow = heads * head, kv_heads * head  # of queries; of keys, and of values
    queried, projections = batch * queries * wide, wide + 2 * narrow
    fresh = queried + 2 * batch * projected * narrow
    scored = batch * heads * queries * keys
    held = 0 if cached else 2 * batch * keys * narrow  # those in a KV cache are not activations
    return (
        Component(
            name="Q, K, V projections",
            params=width * projections + bias * (wide + narrow) + (bias if key_bias is None else key_bias) * narrow,
            matrices=width * projections,
            channels=projections,
            macs=width * fresh,
            activations=fresh,
            live=kept + normed + fresh,
            cached=2 * batch * keys * narrow if cached else 0,
        ),
        Component(
            name="attention scores",
            macs=queried * keys,
            activations=scored,
            live=kept + queried + held + scored,
        ),
        Component(
            name="weighted sum of values",
            macs=queried * keys,
            activations=queried,
            live=kept + 2 * queried + held + scored,  # one operator computes both: queries and keys are alive
        ),
    )


def cross_attention(
    *,
    width: int,
    heads: int,
    head: int,
    batch: int,
    queries: int,
    keys: int,
    projected: int,
    bias: bool,
    key_bias: bool,
) -> tuple[Component, ...]:
    """Attention of a decoder over the encoder's output: Vaswani et al. 2017, section 3.2.3.

    Keys and values are computed once, by a run of the encoder, and cached.

    Args:
        queries: tokens of the decoder in this run; 0 where only the encoder runs.
        keys: tokens of the encoder's output; `projected` of them get their keys and values in this run.
    """
    wide, stream = heads * head, batch * queries * width
    queried, fresh, scored = batch * queries * wide, 2 * batch * projected * wide, batch * heads * queries * keys
    return (
        Component(
            name="K, V projections",
            params=2 * width * wide + (bias + key_bias) * wide,
            matrices=2 * width * wide,
            channels=2 * wide,
            macs=width * fresh,
            activations=fresh,
            live=batch * projected * width + fresh,
            cached=2 * batch * keys * wide,
        ),
        Component(
            name="Q projection",
            params=(width + bias) * wide,
            matrices=width * wide,
            channels=wide,
            macs=width * queried,
            activations=queried,
            live=2 * stream + queried,
        ),
        Component(
            name="attention scores",
            macs=wide * scored // heads,
            activations=scored,
            live=stream + queried + scored,
        ),
        Component(
            name="weighted sum of values",
            macs=wide * scored // heads,
            activations=queried,
            live=stream + 2 * queried + scored,
        ),
    )


def output_projection(inputs: int, width: int, rows: int, *, bias: bool = True) -> Component:
    """The dense layer that joins the heads; the residual stream is alive beside its input and its output."""
    part = dense("output projection", inputs, width, rows, bias=bias)
    return msgspec.structs.replace(part, live=rows * (inputs + 2 * width))


def mlp(width: int, inner: int, rows: int, *, gated: bool = False, bias: bool = True) -> tuple[Component, ...]:
    """Two dense layers; with a gate there is a third, whose activations multiply those of the first.

    Shazeer 2020, "GLU Variants Improve Transformer".
    """
    stream, hidden = rows * width, rows * inner
    up, down = dense("MLP up", width, inner, rows, bias=bias), dense("MLP down", inner, width, rows, bias=bias)
    gate = [msgspec.structs.replace(up, name="MLP gate", live=2 * stream + hidden)] if gated else []
    return (
        *gate,
        msgspec.structs.replace(up, live=2 * stream + (1 + gated) * hidden),
        msgspec.structs.replace(down, live=2 * stream + hidden),
    )


def experts(width: int, inner: int, rows: int, *, stored: int, active: int) -> tuple[Component, ...]:
    """A router, and gated MLPs of which it chooses `active` for every token; all of them are `stored`.

    Shazeer et al. 2017, "Outrageously Large Neural Networks", section 2; without biases.
    """

    def all_of(part: Component) -> Component:
        params = stored * part.params
        return msgspec.structs.replace(
            part, name=f"expert {part.name}", params=params, matrices=params, channels=stored * part.channels
        )

    chosen = mlp(width, inner, active * rows, gated=True, bias=False)
    return dense("router", width, stored, rows, bias=False), *map(all_of, chosen)


def block_norms(count: int, width: int, rows: int, *, shift: bool = True) -> Component:
    """The norms of one block."""
    return msgspec.structs.replace(norms(count, width, rows, shift=shift), name="block norms")


def norms(count: int, width: int, rows: int, *, shift: bool = True) -> Component:
    """Normalizations over `rows` vectors, with a scale and, unless they are RMS norms, a shift.

    Ba et al. 2016, "Layer Normalization"; Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
    """
    return Component(
        name="other norms",
        count=count,
        params=(1 + shift) * width,
        activations=rows * width,
        live=2 * rows * width,
    )


def table(name: str, entries: int, width: int, rows: int, *, added: bool = False) -> Component:
    """A table that is looked up (or `added` as a whole) for `rows` tokens, without multiplication."""
    size, read = entries * width, rows * width
    part = Component(name=name, params=size, activations=read, live=2 * read)
    return part if added else msgspec.structs.replace(part, looked_up=size, rows=entries)


def token_embedding(vocabulary: int, width: int, rows: int, *, tied: bool) -> Component:
    """The token embedding; one that is `tied` to the LM head is stored and quantized as the head is."""
    looked_up = table("token embedding", vocabulary, width, rows)
    if not tied:
        return looked_up
    return msgspec.structs.replace(looked_up, matrices=looked_up.params, channels=vocabulary, looked_up=0, rows=0)


def dense(name: str, inputs: int, outputs: int, rows: int, *, bias: bool = True) -> Component:
    """A dense layer applied to `rows` vectors."""
    return Component(
        name=name,
        params=inputs * outputs + (outputs if bias else 0),
        matrices=inputs * outputs,
        channels=outputs,
        macs=rows * inputs * outputs,
        activations=rows * outputs,
        live=rows * (inputs + outputs),
    )
