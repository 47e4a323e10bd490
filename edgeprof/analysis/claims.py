"""Claims of the background article about transformers, each with its check and the verdict recorded for it.

The texts keep the article's own figures, because those are what is checked. A verdict that differs from the recorded
one means that a formula or a measurement has changed: the table doubles as a regression test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from edgeprof.analysis import claim_checks
from edgeprof.analysis.claim_checks import CONFIRMED, CORRECTED, WRONG, CheckResult
from edgeprof.analysis.growth import length_drives
from edgeprof.schema import CheckedClaim, Point, Verdict

How = Literal["computed", "counted", "measured"]


class Claim(NamedTuple):
    """A claim and its check. Every check receives the measured points; only measured claims use them."""

    number: int
    text: str
    how: How
    recorded: Verdict
    check: Callable[[Sequence[Point]], CheckResult]


def _computed(
    number: int, text: str, recorded: Verdict, check: Callable[[], CheckResult], how: How = "computed"
) -> Claim:
    return Claim(number, text, how, recorded, lambda _points: check())


CLAIMS: tuple[Claim, ...] = (
    _computed(
        1,
        "A dense layer over 512 tokens x 768 features has 154 B weights and needs 154 T operations.",
        CORRECTED,
        claim_checks.dense_layer,
    ),
    _computed(
        2,
        "A layer applied to every token alone has 768 x 768 weights, under 1 M.",
        CONFIRMED,
        claim_checks.pointwise_layer,
    ),
    _computed(
        3,
        "X X^T X keeps the shape m x n of X, has rank at most min(m, n), and has nothing to train.",
        CONFIRMED,
        claim_checks.gram,
        "counted",
    ),
    _computed(
        4,
        "Q, K, V have 3 x 768^2 weights (2 M), the MLP 8 x 768^2 (5 M): a block has 7.1 M.",
        CORRECTED,
        claim_checks.one_block,
    ),
    _computed(
        5,
        "BERT has 85 M parameters in 12 blocks and 24 M in its embeddings, together 110 M.",
        CORRECTED,
        claim_checks.bert_base,
    ),
    _computed(
        6,
        "GPT-2 has 85 M parameters in its blocks and 40 M in its embeddings, together 125 M; the token embedding alone "
        "has 38.6 M because of its vocabulary of 50,257 byte-level entries.",
        CORRECTED,
        claim_checks.gpt2,
    ),
    _computed(
        7,
        "The parameters of a block do not depend on the token length, 512 or 1,024; of the embeddings only the "
        "position table does, and little.",
        CONFIRMED,
        claim_checks.length_independent,
    ),
    Claim(
        8,
        "The token length drives computation and working memory.",
        "measured",
        CONFIRMED,
        length_drives,
    ),
    _computed(
        9,
        "ViT cuts an image into 196 patches and has 196 + 1 = 197 tokens; a patch is 16 x 16 x 3 = 768 values; the "
        "embeddings have 0.74 M parameters, the whole model 86 M.",
        CONFIRMED,
        claim_checks.vit_base,
    ),
    _computed(
        10,
        "The blocks of BERT and ViT have the same size, although their inputs differ.",
        CONFIRMED,
        claim_checks.same_blocks,
    ),
    _computed(
        11,
        "GPT-3 processes 512 tokens of width 768.",
        WRONG,
        claim_checks.gpt3,
    ),
    _computed(
        12,
        "Cross-attention takes keys and values from another sequence: its parameters do not change, and for n and m "
        "tokens it has n x m scores.",
        CONFIRMED,
        claim_checks.cross_attention,
    ),
    _computed(
        13,
        "At 512 x 768, attention lies between the dense layer over everything and the layer per token, in weights and "
        "in operations.",
        CONFIRMED,
        claim_checks.attention_between,
    ),
    _computed(
        14,
        "A lookup table of 3,000,000 words x 300 has 900 M parameters and multiplies nothing.",
        CONFIRMED,
        claim_checks.lookup_table,
    ),
    _computed(
        15,
        "Attention with many heads has the parameters of attention with one.",
        CONFIRMED,
        claim_checks.heads_for_free,
    ),
)


def check(points: Sequence[Point] | None, *, why_not: str = "", run: str = "") -> list[CheckedClaim]:
    """Check every claim.

    Args:
        points: for the measured claims; None leaves those unchecked.
        why_not: why there are no points.
        run: the folder that the points come from.

    Raises:
        ValueError: too few points (`edgeprof.analysis.growth.lacking`).
    """
    return [_check(claim, points, why_not, run) for claim in CLAIMS]


def _check(claim: Claim, points: Sequence[Point] | None, why_not: str, run: str) -> CheckedClaim:
    unchecked = CheckedClaim(
        number=claim.number,
        claim=claim.text,
        how=claim.how,
        recorded=claim.recorded,
        verdict=None,
        found=(why_not,),
    )
    measured = claim.how == "measured"
    if measured and points is None:
        return unchecked
    result = claim.check(points or ())
    return msgspec.structs.replace(
        unchecked,
        verdict=result.verdict,
        found=result.lines,
        correction=result.correction,
        numbers=dict(result.numbers),
        growths=result.growths,
        run=run if measured else "",
    )
