"""The block that GPT-2, BERT and ViT repeat: attention and an MLP, each with a norm. Its costs are the same in all.

With width d, inner width i (4 d where nothing else is said), b sequences of n tokens that look at m keys each:

    Q, K, V        3 d^2 weights     3 b n d^2 MACs
    scores         -                 b n m d          all heads together, each d / heads wide
    weighted sum   -                 b n m d
    output         d^2               b n d^2
    MLP            2 d i             2 b n d i
    norms          2 x 2 d           not counted

With biases and i = 4 d that is 12 d^2 + 13 d parameters: Vaswani et al. 2017, "Attention is all you need", section 3;
the count also in Kaplan et al. 2020, "Scaling laws for neural language models", table 1. The MACs are those of full
matrices: a causal mask does not make onnxruntime's kernels compute less.
"""

from edgeprof.families.base import Component


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
    """The parts of `layers` equal blocks, for `batch` sequences of `queries` tokens that look at `keys` tokens."""
    rows, square, biased = batch * queries, width * width, 3 * width if qkv_bias else 0
    stream, scored = rows * width, batch * heads * queries * keys
    keys_and_values = 2 * batch * keys * width
    held = 0 if cached else keys_and_values  # in a KV cache they are not activations

    def part(name: str, count: int = layers, **costs: int) -> Component:
        return Component(name=name, count=count, in_block=True, **costs)

    return (
        part(
            "Q, K, V projections",
            params=3 * square + biased,
            matrices=3 * square,
            channels=3 * width,
            macs=3 * rows * square,
            activations=3 * stream,
            live=5 * stream,  # the residual stream, its norm, and the three
            cached=keys_and_values if cached else 0,
        ),
        part(
            "attention scores",
            macs=rows * keys * width,
            activations=scored,
            live=2 * stream + held + scored,
        ),
        part(
            "weighted sum of values",
            macs=rows * keys * width,
            activations=stream,
            live=3 * stream + held + scored,  # one operator makes both: queries and keys are still there
        ),
        part(
            "output projection",
            params=square + width,
            matrices=square,
            channels=width,
            macs=rows * square,
            activations=stream,
            live=3 * stream,
        ),
        part(
            "MLP up",
            params=width * inner + inner,
            matrices=width * inner,
            channels=inner,
            macs=rows * width * inner,
            activations=rows * inner,
            live=2 * stream + rows * inner,
        ),
        part(
            "MLP down",
            params=width * inner + width,
            matrices=width * inner,
            channels=width,
            macs=rows * width * inner,
            activations=stream,
            live=2 * stream + rows * inner,
        ),
        norms(2 * layers, width, rows, in_block=True),
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


def table(name: str, entries: int, width: int, rows: int) -> Component:
    """A table that is looked up, or added, for `rows` tokens: no multiplication."""
    return Component(name=name, params=entries * width, activations=rows * width, live=2 * rows * width)


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
