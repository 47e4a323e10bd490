"""The check of each claim of `edgeprof.analysis.claims`. No result is hard-coded: all values come from the closed forms
of the families, from numpy, or from measured points.

A claimed figure ("85 M") is right when the value rounds to it. It is nearly right, which gives a correction, when it
was truncated or rounded up: off by less than one in its last digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from edgeprof import units
from edgeprof.analysis.ledger import ledger
from edgeprof.families import family_of, find_variant, resized, traced_family, variants
from edgeprof.families.component_groups import ATTENTION
from edgeprof.families.mixer import gram_rank
from edgeprof.schema import Case, Cost, Ledger, MeasuredGrowth, Variant, Verdict

CONFIRMED: Verdict = "confirmed"
CORRECTED: Verdict = "confirmed with a correction"
WRONG: Verdict = "wrong"
NOT_SHOWN: Verdict = "not shown"

TOKENS, WIDTH = 512, 768  # the shape of most claims
SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


class CheckResult(NamedTuple):
    """The outcome of a check: the verdict, its evidence as text and as numbers, and a correction of the claim."""

    verdict: Verdict
    lines: tuple[str, ...]
    numbers: Mapping[str, float]
    correction: str = ""
    growths: tuple[MeasuredGrowth, ...] = ()


def result_of(holds: bool, lines: Iterable[str], numbers: Mapping[str, float], *corrections: str) -> CheckResult:
    """The result of a claim: wrong unless it holds; confirmed with a correction where there is one."""
    correction = " ".join(filter(None, corrections))
    verdict = (CORRECTED if correction else CONFIRMED) if holds else WRONG
    return CheckResult(verdict, tuple(lines), numbers, correction)


# --- claimed figures -----------------------------------------------------------------------------------


def amount(claimed: str) -> tuple[float, float]:
    """ "7.1 M" -> 7,100,000 and its last digit, 100,000."""
    match = re.fullmatch(r"([\d,]+)(?:\.(\d+))? ?([kMBGT]?)", claimed)
    if not match:
        raise ValueError(f"not a figure: {claimed}")
    whole, decimals, unit = match[1].replace(",", ""), match[2] or "", SCALES[match[3]]
    return float(f"{whole}.{decimals or 0}") * unit, unit / 10 ** len(decimals)


def rounds_to(value: float, claimed: str) -> bool:
    figure, digit = amount(claimed)
    return abs(value - figure) <= digit / 2


def near(value: float, claimed: str) -> bool:
    figure, digit = amount(claimed)
    return abs(value - figure) < digit


def in_unit_of(value: float, claimed: str) -> str:
    """A number in the unit and with the digits of a claimed figure: 124,439,808 as "125 M" is "124 M"."""
    unit = claimed[-1] if claimed[-1] in SCALES else ""
    decimals = len(claimed.partition(".")[2].rstrip(" kMBGT"))
    return f"{value / SCALES[unit]:,.{decimals}f} {unit}".strip()


# --- sources of values ---------------------------------------------------------------------------------


def costs(name: str, tokens: int = TOKENS, **sizes: int) -> Ledger:
    """The ledger of a variant for one sequence; `sizes` are options of a mixer."""
    variant = find_variant(name)
    return ledger(resized(variant, **sizes) if sizes else variant, Case(batch=1, tokens=tokens))


def block_of(model: Ledger) -> int:
    """Parameters of one block."""
    return sum(cost.params for cost in model.costs if cost.in_block) // (model.layers or 1)


def embeddings_of(model: Ledger) -> list[Cost]:
    return [cost for cost in model.costs if cost.name.endswith("embedding")]


def with_config(variant: Variant, **changed: Any) -> Variant:
    return msgspec.structs.replace(variant, config={**variant.config, **changed})


# --- ways to mix tokens --------------------------------------------------------------------------------


def dense_layer() -> CheckResult:
    weights_claimed, operations_claimed = "154 B", "154 T"
    layer = costs("mixer-dense", width=WIDTH)
    weights, macs = layer.total("params"), layer.total("macs")
    lines = [f"{weights:,} weights; {macs:,} MACs, {macs // weights} for each weight"]
    rounded = "" if rounds_to(weights, weights_claimed) else f"It has {weights / SCALES['B']:.1f} B weights."
    times = amount(operations_claimed)[0] / macs
    fewer = f"It needs {macs / SCALES['G']:.1f} G MACs, {times:,.0f} times fewer than {operations_claimed}."
    correction = "" if near(macs, operations_claimed) else fewer
    return result_of(near(weights, weights_claimed), lines, {"weights": weights, "macs": macs}, rounded, correction)


def pointwise_layer() -> CheckResult:
    layer = costs("mixer-pointwise", width=WIDTH)
    weights, limit = layer.total("params"), amount("1 M")[0]
    lines = [f"{weights:,} weights, whatever the number of tokens"]
    other = costs("mixer-pointwise", 2 * TOKENS, width=WIDTH).total("params")
    return result_of(weights == WIDTH * WIDTH == other and weights < limit, lines, {"weights": weights})


GRAM_SHAPES = ((4, 16), (16, 4), (12, 12), (20, 32), (32, 20))


def gram() -> CheckResult:
    """Ranks of random matrices with fewer, more, and as many tokens as features."""
    variant = find_variant("mixer-gram")
    ranks = {(rows, columns): gram_rank(rows, columns) for rows, columns in GRAM_SHAPES}
    family, params = traced_family(variant), costs(variant.name).total("params")
    (states,), (mixed,) = family.inputs(variant), family.outputs(variant)
    lines = [
        f"rank {', '.join(f'{rank} for {rows} x {columns}' for (rows, columns), rank in ranks.items())}; "
        f"shape {' x '.join(map(str, states.dims[1:]))} in, {' x '.join(map(str, mixed.dims[1:]))} out; "
        f"{params} parameters",
    ]
    holds = params == 0 and mixed.dims == states.dims and all(rank <= min(shape) for shape, rank in ranks.items())
    numbers = {f"rank of {rows} x {columns}": rank for (rows, columns), rank in ranks.items()}
    return result_of(holds, lines, {**numbers, "params": params})


def attention_between() -> CheckResult:
    names = ("mixer-dense", "mixer-attention", "mixer-pointwise")
    ledgers = [costs(name, width=WIDTH) for name in names]
    numbers: dict[str, float] = {}
    lines = []
    for quantity, unit in (("params", "weights"), ("macs", "MACs")):
        values = [mixer.total(quantity) for mixer in ledgers]
        lines.append(f"{unit}: " + " > ".join(f"{value:,}" for value in values) + f" ({', '.join(names)})")
        numbers |= {f"{name} {unit}": value for name, value in zip(names, values, strict=True)}
    ordered = all(
        ledgers[0].total(quantity) > ledgers[1].total(quantity) > ledgers[2].total(quantity)
        for quantity in ("params", "macs")
    )
    return result_of(ordered, lines, numbers)


def heads_for_free() -> CheckResult:
    heads = 12
    one, many = (costs("mixer-attention", width=WIDTH, heads=count) for count in (1, heads))
    numbers = {"params with 1 head": one.total("params"), f"params with {heads} heads": many.total("params")}
    numbers |= {"macs with 1 head": one.total("macs"), f"macs with {heads} heads": many.total("macs")}
    lines = [
        f"{one.total('params'):,} parameters and {one.total('macs'):,} MACs with 1 head; "
        f"{many.total('params'):,} and {many.total('macs'):,} with {heads}",
    ]
    return result_of(one.total("params") == many.total("params"), lines, numbers)


def cross_attention() -> CheckResult:
    other = 100  # tokens of the second sequence
    alone = costs("mixer-attention", width=WIDTH)
    crossed = costs("mixer-attention", width=WIDTH, cross=other)
    scores = crossed.of(ATTENTION[0]).macs // WIDTH
    numbers = {"params": crossed.total("params"), "params of self-attention": alone.total("params"), "scores": scores}
    lines = [
        f"{crossed.total('params'):,} parameters with a second sequence of {other} tokens, {alone.total('params'):,} "
        f"without; {scores:,} scores = {TOKENS} x {other}, {alone.of(ATTENTION[0]).macs // WIDTH:,} without",
    ]
    holds = crossed.total("params") == alone.total("params") and scores == TOKENS * other
    return result_of(holds, lines, numbers)


def lookup_table() -> CheckResult:
    claimed = "900 M"
    table = costs("embedding-word2vec")
    params, macs, size = table.total("params"), table.total("macs"), table.total("weights_bytes")
    lines = [f"{params:,} parameters, {units.size(size)} in {table.precision}; {macs} MACs"]
    return result_of(rounds_to(params, claimed) and macs == 0, lines, {"params": params, "macs": macs})


# --- blocks --------------------------------------------------------------------------------------------


def one_block() -> CheckResult:
    variant = find_variant("bert-base")
    family = family_of(variant)
    width, layers = family.summary(variant).width, family.summary(variant).layers
    parts = {part.name: part.matrices for part in family.components(variant, Case(batch=1, tokens=TOKENS))}
    qkv, output, mlp = parts["Q, K, V projections"], parts["output projection"], parts["MLP up"] + parts["MLP down"]
    whole = block_of(costs("bert-base"))
    numbers = {"Q, K, V": qkv, "MLP": mlp, "output projection": output, "block": whole}
    lines = [
        f"Q, K, V {qkv:,} = {qkv // width**2} x {width}^2; MLP {mlp:,} = {mlp // width**2} x {width}^2; "
        f"output projection {output:,}; a block, with biases and norms, {whole:,} (x {layers})",
    ]
    holds = qkv == 3 * width**2 and mlp == 8 * width**2
    holds &= rounds_to(qkv, "2 M") and rounds_to(mlp, "5 M") and rounds_to(whole, "7.1 M")
    left_out = (
        f"Q, K, V and MLP are {in_unit_of(qkv + mlp, '7.1 M')}; the other {in_unit_of(whole - qkv - mlp, '7.1 M')} are "
        f"an output projection of {width} x {output // width}, biases and norms."
    )
    return result_of(holds, lines, numbers, "" if rounds_to(qkv + mlp, "7.1 M") else left_out)


def length_independent() -> CheckResult:
    """GPT-2 configured for 512 and for 1,024 tokens, each at its full length."""
    lengths = (512, 1024)
    variant = find_variant("gpt2")
    short, long = (ledger(with_config(variant, n_positions=length), Case(batch=1, tokens=length)) for length in lengths)
    grown = {
        after.name: after.params - before.params
        for before, after in zip(embeddings_of(short), embeddings_of(long), strict=True)
        if after.params != before.params
    }
    more = sum(grown.values())
    share = more / long.total("params")
    numbers = {f"block at {length}": block_of(model) for length, model in zip(lengths, (short, long), strict=True)}
    lines = [
        f"a block of {variant.name} has {block_of(short):,} parameters at {lengths[0]:,} tokens and "
        f"{block_of(long):,} at {lengths[1]:,}; {' and '.join(grown) or 'no embedding'} has {more:,} more, "
        f"{100 * share:.2g} % of the model",
    ]
    holds = block_of(short) == block_of(long) and list(grown) == ["position embedding"] and share < 0.01
    return result_of(holds, lines, {**numbers, "position embedding grows by": more, "share": share})


def same_blocks() -> CheckResult:
    bert, vit = (costs(name, tokens) for name, tokens in (("bert-base", TOKENS), ("vit-base", 197)))
    inside = [{cost.name: cost.params // cost.count for cost in model.costs if cost.in_block} for model in (bert, vit)]
    inputs = [embeddings_of(model)[0].name for model in (bert, vit)]
    lines = [
        f"{block_of(bert):,} (bert-base, behind a {inputs[0]}) and {block_of(vit):,} parameters (vit-base, behind a "
        f"{inputs[1]}); {'equal' if inside[0] == inside[1] else 'not equal'} part by part",
    ]
    numbers = {"bert-base block": block_of(bert), "vit-base block": block_of(vit)}
    return result_of(inside[0] == inside[1] and inputs[0] != inputs[1], lines, numbers)


# --- models --------------------------------------------------------------------------------------------


def bert_base() -> CheckResult:
    model = costs("bert-base")
    layers, block, whole = model.layers or 0, block_of(model), model.total("params")
    blocks, tables = layers * block, sum(cost.params for cost in embeddings_of(model))
    pooler = model.of("pooler").params
    numbers = {"layers": layers, "blocks": blocks, "embeddings": tables, "pooler": pooler, "params": whole}
    lines = [
        f"{layers} blocks {blocks:,} + embeddings {tables:,} = {blocks + tables:,}; with norm and pooler {whole:,}"
    ]
    holds = layers == 12 and rounds_to(blocks, "85 M") and rounds_to(tables, "24 M") and near(whole, "110 M")
    correction = (
        f"Blocks and embeddings are {in_unit_of(blocks + tables, '1.0 M')}, and {in_unit_of(whole, '1.0 M')} with the "
        f"pooler ({in_unit_of(pooler, '1.0 M')}): the published figure is rounded up."
    )
    return result_of(holds, lines, numbers, "" if rounds_to(blocks + tables, "110 M") else correction)


def gpt2() -> CheckResult:
    blocks_claimed, tables_claimed, whole_claimed, token_claimed = "85 M", "40 M", "125 M", "38.6 M"
    variant = find_variant("gpt2")
    model = costs("gpt2")
    blocks, tables = (model.layers or 0) * block_of(model), sum(cost.params for cost in embeddings_of(model))
    token, whole = model.of("token embedding").params, model.total("params")
    norm = model.of("other norms").params
    summary = family_of(variant).summary(variant)
    numbers = {"blocks": blocks, "embeddings": tables, "token embedding": token, "params": whole}
    lines = [
        f"blocks {blocks:,} + embeddings {tables:,} + norm {norm:,} = {whole:,}; "
        f"token embedding {summary.vocabulary:,} x {summary.width} = {token:,}",
    ]
    holds = near(blocks, blocks_claimed) and near(tables, tables_claimed) and near(whole, whole_claimed)
    holds &= rounds_to(token, token_claimed) and summary.vocabulary == 50257
    exact = rounds_to(blocks, blocks_claimed) and rounds_to(tables, tables_claimed) and rounds_to(whole, whole_claimed)
    correction = (
        f"To the nearest million it is {in_unit_of(blocks, blocks_claimed)} + {in_unit_of(tables, tables_claimed)} = "
        f"{in_unit_of(whole, whole_claimed)}."
    )
    return result_of(holds, lines, {**numbers, "vocabulary": summary.vocabulary or 0}, "" if exact else correction)


def vit_base() -> CheckResult:
    variant = find_variant("vit-base")
    family = family_of(variant)
    summary = family.summary(variant)
    patch, channels, width = summary.patch or 0, summary.channels or 0, summary.width
    patches = family.sample_tokens(variant, 0) - 1
    model = costs("vit-base", patches + 1)
    values, whole = patch * patch * channels, model.total("params")
    bare = values * width + (patches + 1) * width
    tables = sum(cost.params for cost in embeddings_of(model)) + model.of("class token").params
    encoder = whole - model.of("classifier").params
    numbers = {"patches": patches, "tokens": patches + 1, "values": values, "bare embeddings": bare}
    numbers |= {"embeddings": tables, "without head": encoder, "params": whole}
    lines = [
        f"{patches} patches + 1 = {patches + 1} tokens; {patch} x {patch} x {channels} = {values} values a patch; "
        f"embeddings {values} x {width} + {patches + 1} x {width} = {bare:,}, with biases and class token {tables:,}; "
        f"the model {encoder:,}, with its classifier {whole:,}",
    ]
    holds = patches == 196 and family.true_tokens(variant, 197) == patches + 1 and values == 768
    holds &= rounds_to(bare, "0.74 M") and rounds_to(tables, "0.74 M") and rounds_to(encoder, "86 M")
    return result_of(holds, lines, numbers)


def gpt3() -> CheckResult:
    variant = find_variant("gpt3")
    summary, params = family_of(variant).summary(variant), costs("gpt3").total("params")
    tokens = variant.max_tokens or 0
    numbers = {"tokens": tokens, "width": summary.width, "params": params}
    lines = [f"{tokens:,} tokens of width {summary.width:,}, {summary.layers} blocks, {params:,} parameters"]
    right = tokens == TOKENS and summary.width == WIDTH
    others = [row for row in variants() if row.name.startswith("gpt3") and family_of(row).summary(row).width == WIDTH]
    correction = (
        f"The model of {in_unit_of(params, '175 B')} parameters processes {tokens:,} tokens of width {summary.width:,}"
        f"; {WIDTH} is the width of {' and '.join(row.name for row in others) or 'none of its siblings'}."
    )
    return result_of(right, lines, numbers, "" if right else correction)
