"""The block that GPT-2, BERT and ViT repeat: attention and an MLP, each with a norm. It costs the same in all three.

With width d, inner width i (4 d by default), and b sequences of n tokens that attend to m keys each:

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
) -> tuple[Component, ...]:
    """The parts of `layers` equal blocks, for `batch` sequences of `queries` tokens that attend to `keys` tokens."""
    rows = batch * queries
    stream = rows * width

    def layer(name: str, inputs: int, outputs: int, live: int) -> Component:
        return msgspec.structs.replace(dense(name, inputs, outputs, rows), count=layers, in_block=True, live=live)

    return (
        *attention(
            layers=layers,
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
            in_block=True,
        ),
        layer("output projection", width, width, 3 * stream),
        layer("MLP up", width, inner, 2 * stream + rows * inner),
        layer("MLP down", inner, width, 2 * stream + rows * inner),
        norms(2 * layers, width, rows, in_block=True),
    )


def attention(
    *,
    layers: int = 1,
    width: int,
    heads: int,
    batch: int,
    queries: int,
    keys: int,
    projected: int,
    kept: int,
    normed: int = 0,
    bias: bool = True,
    cached: bool = False,
    in_block: bool = False,
) -> tuple[Component, ...]:
    """Projections to queries, keys and values, and attention over them.

    Args:
        keys: tokens that a query attends to; `projected` of them get their keys and values in this run.
        kept: elements that are alive throughout: the residual stream, or inputs.
        normed: elements that are alive until queries, keys and values are computed: the norm of the residual stream.
    """
    rows, square = batch * queries, width * width
    stream, scored = rows * width, batch * heads * queries * keys
    held = 0 if cached else 2 * batch * keys * width  # those in a KV cache are not activations

    def part(name: str, **costs: int) -> Component:
        return Component(name=name, count=layers, in_block=in_block, **costs)

    return (
        part(
            "Q, K, V projections",
            params=3 * square + (3 * width if bias else 0),
            matrices=3 * square,
            channels=3 * width,
            macs=(rows + 2 * batch * projected) * square,
            activations=stream + 2 * batch * projected * width,
            live=kept + normed + stream + 2 * batch * projected * width,
            cached=2 * batch * keys * width if cached else 0,
        ),
        part(
            "attention scores",
            macs=rows * keys * width,
            activations=scored,
            live=kept + stream + held + scored,
        ),
        part(
            "weighted sum of values",
            macs=rows * keys * width,
            activations=stream,
            live=kept + 2 * stream + held + scored,  # one operator computes both: queries and keys are alive
        ),
    )


def norms(count: int, width: int, rows: int, *, in_block: bool = False) -> Component:
    """Layer normalizations with scale and shift over `rows` vectors: Ba et al. 2016."""
    return Component(
        name="block norms" if in_block else "other norms",
        count=count,
        in_block=in_block,
        params=2 * width,
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
