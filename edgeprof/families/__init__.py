"""What a transformer is. One file per family; a new one is a file and a line in FAMILIES."""

from edgeprof.errors import UnknownName
from edgeprof.families.base import Family
from edgeprof.families.bert import BERT
from edgeprof.families.gpt2 import GPT2
from edgeprof.families.vit import ViT
from edgeprof.schema import Variant

FAMILIES: tuple[Family, ...] = (GPT2(), BERT(), ViT())


def variants() -> list[Variant]:
    return [variant for family in FAMILIES for variant in family.variants]


def family_of(variant: Variant) -> Family:
    return next(family for family in FAMILIES if family.name == variant.family)


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
