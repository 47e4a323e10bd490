"""What a model is. One file per family; a new one is a file and a line in FAMILIES."""

import msgspec

from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.families.base import Family
from edgeprof.families.bert import BERT
from edgeprof.families.embedding import Embedding
from edgeprof.families.gpt2 import GPT2
from edgeprof.families.mixer import Mixer
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.families.vit import ViT
from edgeprof.schema import Variant

TRANSFORMERS: tuple[TransformersFamily, ...] = (GPT2(), BERT(), ViT())
FAMILIES: tuple[Family, ...] = (*TRANSFORMERS, Mixer(), Embedding())

OPTIONS = {"width": "w", "tokens": "t", "heads": "h", "cross": "cross"}
"""Sizes that a user may choose where a family allows it, and how a variant's name tells them."""


def variants() -> list[Variant]:
    return [variant for family in FAMILIES for variant in family.variants]


def family_of(variant: Variant) -> Family:
    """
    Raises:
        RunError: there is none; a record is damaged, or of another version.
    """
    for family in FAMILIES:
        if family.name == variant.family:
            return family
    raise RunError(f"The record of {variant.name} names an unknown family, '{variant.family}'.", "Export it again.")


def find_variant(name: str) -> Variant:
    """The row of that name.

    Raises:
        UnknownName: there is none; the nearest names are offered.
    """
    for variant in variants():
        if variant.name == name:
            return variant
    known = [variant.name for variant in variants()]
    raise UnknownName("variant", name, known, "`edgeprof models` lists them; a checkpoint is ./folder or owner/name.")


def resized(
    variant: Variant,
    *,
    width: int | None = None,
    tokens: int | None = None,
    heads: int | None = None,
    cross: int | None = None,
) -> Variant:
    """The variant in the sizes that are given, under a name that tells which of them differ: "mixer-gram-w64".

    Args:
        width: of the vectors.
        tokens: the one token length of a variant that has one.
        heads: of its attention.
        cross: tokens of a second sequence, of which keys and values are made.

    Raises:
        UsageError: it takes no such option, or the sizes do not go together.
    """
    family = family_of(variant)
    asked = {"width": width, "tokens": tokens, "heads": heads, "cross": cross}
    name, chosen = variant.name, variant
    for option, size in asked.items():
        if size is None:
            continue
        if option not in family.options(variant):
            takers = [row.name for row in variants() if option in family_of(row).options(row)]
            raise UsageError(f"{variant.name} takes no --{option}.", f"It goes with {', '.join(takers)}.")
        if size < 1:
            raise UsageError(f"--{option} has to be at least 1, not {size}.", f"Leave --{option} out for its default.")
        if size != family.value(chosen, option):
            chosen = msgspec.structs.replace(chosen, config={**chosen.config, option: size})
            name += f"-{OPTIONS[option]}{size}"
    summary = family.summary(chosen)
    if summary.heads and summary.width % summary.heads:
        raise UsageError(
            f"A width of {summary.width} cannot be divided among {summary.heads} heads.",
            "Choose --heads that divides --width.",
        )
    most = chosen.config["tokens"] if "tokens" in family.options(variant) else variant.max_tokens
    return msgspec.structs.replace(chosen, name=name, max_tokens=most)
