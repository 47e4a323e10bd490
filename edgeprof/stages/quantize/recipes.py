"""The recipes: one row each, a function that changes a model in place and what the recipe needs and may cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import asdict

from edgeprof.errors import UnknownName, UsageError
from edgeprof.process import Progress
from edgeprof.schema import FP32, Limits, Precision, Record, Settings
from edgeprof.stages.quantize import dynamic, floats, static, weight_only
from edgeprof.stages.quantize.job import Job

LABELS = {
    "block_size": "block size",
    "symmetric": "symmetry",
    "accuracy_level": "accuracy level",
    "method": "calibration method",
}
"""Of settings, in messages."""


class Recipe(Record, frozen=True, kw_only=True):
    name: str
    title: str
    apply: Callable[[Job, Progress], None]
    settings: Settings = Settings()
    limits: Limits
    weights_only: bool = True  # matrices that are multiplied, and not all numbers
    calibrated: bool = False
    keeps_gemm: bool = False
    stores_others: bool = True  # tables that are only looked up, and kernels of convolutions, in 8 bits
    opset: int = 7  # the oldest operator set that can say it: older graphs are converted first
    copies: float = 1.3  # of all weights, in memory at once

    def with_settings(self, requested: Settings) -> Settings:
        """The settings of this recipe, with those a user requests in their place.

        Raises:
            UsageError: the recipe has no such setting, or does not take that value.
        """
        values = {}
        for name, usual in asdict(self.settings).items():
            value = getattr(requested, name)
            if value is not None and usual is None:
                raise UsageError(f"Recipe {self.name} has no {LABELS[name]} to choose.", "Leave the option out.")
            values[name] = usual if value is None else value
        settings = Settings(**values)
        size, level = settings.block_size, settings.accuracy_level
        if size is not None and (size < 16 or size & (size - 1)):
            raise UsageError(f"Block size {size} is not a power of two, 16 or more.", "Try 32, 64 or 128.")
        if level is not None and level not in range(5):
            raise UsageError(f"There is no accuracy level {level}.", "Choose 1 (fp32) to 4 (int8), or 0 (any).")
        return settings

    def precision(self, settings: Settings) -> Precision:
        """The precision of a result: this recipe, and the settings that differ from its usual ones."""
        usual = asdict(self.settings)
        differing = {name: value for name, value in asdict(settings).items() if value != usual[name]}
        return Precision(recipe=self.name, settings=Settings(**differing))


BLOCKS = Settings(block_size=32, symmetric=True, accuracy_level=4)
ASYMMETRIC = Settings(block_size=32, symmetric=False, accuracy_level=4)
RANGES = Settings(method="min-max")

CLOSE = Limits(cosine=0.999, top1=0.98, kl=0.005, perplexity=1.01)
EIGHT_BITS = Limits(cosine=0.99, top1=0.9, kl=0.05, perplexity=1.05)
FOUR_BITS = Limits(cosine=0.95, top1=0.8, kl=0.2, perplexity=1.2)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="fp16",
        title="16-bit floating point",
        apply=floats.fp16,
        limits=CLOSE,
        weights_only=False,
        stores_others=False,
    ),
    Recipe(
        name="bf16",
        title="weights stored in bfloat16, computed with in fp32",
        apply=floats.bf16,
        limits=EIGHT_BITS,
        weights_only=False,
        stores_others=False,
        opset=13,
    ),
    Recipe(
        name="int8",
        title="dynamic int8: weights per channel, activations scaled in every run",
        apply=dynamic.int8,
        limits=EIGHT_BITS,
        opset=11,
    ),
    Recipe(
        name="int8-static",
        title="static int8 (QDQ) of matmuls: activations scaled by calibration; for CPUs",
        apply=static.matmuls,
        keeps_gemm=True,
        settings=RANGES,
        limits=EIGHT_BITS,
        calibrated=True,
        opset=10,
    ),
    Recipe(
        name="a8w8",
        title="static QDQ of all operators, activations in 8 bits; for NPUs",
        apply=partial(static.everything, bits=8),
        settings=RANGES,
        limits=EIGHT_BITS,
        calibrated=True,
        opset=10,
        stores_others=False,
        copies=4.5,
    ),
    Recipe(
        name="a16w8",
        title="static QDQ of all operators, activations in 16 bits; for NPUs",
        apply=partial(static.everything, bits=16),
        settings=RANGES,
        limits=EIGHT_BITS,
        calibrated=True,
        opset=10,
        stores_others=False,
        copies=4.5,
    ),
    Recipe(
        name="int8-weights",
        title="weight-only 8 bits in blocks",
        apply=partial(weight_only.nearest, bits=8),
        settings=BLOCKS,
        limits=EIGHT_BITS,
    ),
    Recipe(
        name="int4",
        title="weight-only 4 bits in blocks",
        apply=partial(weight_only.nearest, bits=4),
        settings=BLOCKS,
        limits=FOUR_BITS,
    ),
    Recipe(
        name="int4-hqq",
        title="weight-only 4 bits, zero points by HQQ",
        apply=partial(weight_only.hqq, bits=4),
        settings=Settings(block_size=32),
        limits=FOUR_BITS,
    ),
    Recipe(
        name="int4-gptq",
        title="weight-only 4 bits, rounding errors made good by GPTQ",
        apply=weight_only.gptq,
        settings=ASYMMETRIC,
        limits=FOUR_BITS,
        calibrated=True,
    ),
)


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownName: there is none.
    """
    for row in RECIPES:
        if row.name == name:
            return row
    raise UnknownName("precision", name, [FP32, *(row.name for row in RECIPES)])
