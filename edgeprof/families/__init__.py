"""What a model is. One file per family; a new one is a file and a line in FAMILIES."""

from collections.abc import Mapping

import msgspec

from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.families.base import Family, TracedFamily
from edgeprof.families.bert import BERT
from edgeprof.families.clip import CLIP
from edgeprof.families.dinov2 import DINOv2
from edgeprof.families.distilbert import DistilBERT
from edgeprof.families.embedding import Embedding
from edgeprof.families.gpt2 import GPT2
from edgeprof.families.gpt_neox import GPTNeoX, Phi
from edgeprof.families.llama import (
    Gemma,
    Gemma2,
    Gemma3,
    Granite,
    Llama,
    Mistral,
    Mixtral,
    Olmo2,
    Phi3,
    Qwen2,
    Qwen3,
    Qwen3MoE,
    SmolLM3,
)
from edgeprof.families.mixer import Mixer
from edgeprof.families.modernbert import ModernBERT
from edgeprof.families.roberta import CamemBERT, RoBERTa, XLMRoBERTa
from edgeprof.families.t5 import T5
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.families.vit import ViT
from edgeprof.families.whisper import Whisper
from edgeprof.schema import Architecture, Artifact, Variant

FAMILIES: tuple[Family, ...] = (
    GPT2(),
    GPTNeoX(),
    Phi(),
    Llama(),
    Mistral(),
    Mixtral(),
    Qwen2(),
    Qwen3(),
    Qwen3MoE(),
    Gemma(),
    Gemma2(),
    Gemma3(),
    Phi3(),
    SmolLM3(),
    Olmo2(),
    Granite(),
    BERT(),
    DistilBERT(),
    RoBERTa(),
    XLMRoBERTa(),
    CamemBERT(),
    ModernBERT(),
    T5(),
    Whisper(),
    ViT(),
    DINOv2(),
    CLIP(),
    Mixer(),
    Embedding(),
)
TRANSFORMERS = tuple(family for family in FAMILIES if isinstance(family, TransformersFamily))


def variants() -> list[Variant]:
    """The rows of all families."""
    return [variant for family in FAMILIES for variant in family.variants]


def family_of(variant: Variant) -> Family:
    """The family of a variant.

    Raises:
        RunError: there is none; a record is damaged, or of another version.
    """
    for family in FAMILIES:
        if family.name == variant.family:
            return family
    raise RunError(f"The record of {variant.name} names an unknown family, '{variant.family}'.", "Export it again.")


def traced_family(variant: Variant) -> TracedFamily:
    """The family of a variant, where it gives inputs and reference values itself.

    Raises:
        RunError: it does not: models of this family are exported by probing.
    """
    family = family_of(variant)
    if isinstance(family, TracedFamily):
        return family
    raise RunError(
        f"{variant.name} is described in closed form only; its inputs are those of its graphs.", "Export it first."
    )


def is_traced(variant: Variant) -> bool:
    """Whether the family of a variant gives inputs and reference values itself."""
    return isinstance(family_of(variant), TracedFamily)


def architecture_of(variant: Variant) -> Architecture | None:
    """The model of a variant by its configuration, for an export by probing; None where its family is traced."""
    family = family_of(variant)
    return family.architecture(variant) if isinstance(family, TransformersFamily) and not is_traced(variant) else None


def traced_variant(artifact: Artifact) -> Variant | None:
    """The variant of an artifact whose family gives the inputs of its graph; None where only their names tell."""
    variant = artifact.variant
    return variant if variant is not None and is_traced(variant) else None


def find_variant(name: str) -> Variant:
    """The row of that name.

    Raises:
        UnknownName: there is none; suggests the nearest names.
    """
    for variant in variants():
        if variant.name == name:
            return variant
    known = [variant.name for variant in variants()]
    raise UnknownName("variant", name, known, "`edgeprof models` lists them; a checkpoint is ./folder or owner/name.")


# --- sizes that a user may choose ------------------------------------------------------------------------------


def size_options() -> tuple[str, ...]:
    """Names of all options and keywords that resize a variant of some family."""
    return tuple(dict.fromkeys(option for row in variants() for option in family_of(row).options(row)))


def chosen_sizes(keywords: Mapping[str, int | None]) -> dict[str, int]:
    """Those that have a value.

    Raises:
        TypeError: a keyword that is no size option of any family.
    """
    for keyword in keywords:
        if keyword not in size_options():
            raise TypeError(f"unexpected keyword argument '{keyword}'")
    return {option: size for option, size in keywords.items() if size is not None}


def resized(variant: Variant, **sizes: int) -> Variant:
    """The variant in other sizes, under a name that includes each size that differs.

    >>> resized(find_variant("mixer-gram"), width=64).name
    'mixer-gram-w64'

    Args:
        sizes: by option of its family, see `Family.options`.

    Raises:
        UsageError: the variant has no such option, or the sizes do not go together.
    """
    if not sizes:
        return variant
    family = family_of(variant)
    name, chosen = variant.name, variant
    for option, size in sizes.items():
        abbreviation = family.options(variant).get(option)
        if abbreviation is None:
            others = [row.name for row in variants() if option in family_of(row).options(row)]
            raise UsageError(f"{variant.name} has no option --{option}.", f"Models with it: {', '.join(others)}.")
        if size < 1:
            raise UsageError(f"--{option} must be at least 1, not {size}.", f"Omit --{option} for its default.")
        if size != family.value(chosen, option):
            chosen = msgspec.structs.replace(chosen, config={**chosen.config, option: size})
            name += f"-{abbreviation}{size}"
    summary = family.summary(chosen)
    if summary.heads and summary.width % summary.heads:
        raise UsageError(
            f"A width of {summary.width} cannot be divided among {summary.heads} heads.",
            "Choose --heads that divides --width.",
        )
    return msgspec.structs.replace(chosen, name=name, max_tokens=family.fixed_tokens(chosen) or variant.max_tokens)
