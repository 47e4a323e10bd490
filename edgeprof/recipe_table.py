"""The recipes: one row each, with all facts about the precision that it makes.

The `algorithm` of a recipe is a function in `edgeprof.stages.quantize.algorithms` that changes a model. A recipe with a
known algorithm is one row; fp32, which changes nothing, is a row too.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec.structs import asdict

from edgeprof.errors import UnknownName, UsageError
from edgeprof.schema import FP32, Limits, Precision, Record, Settings

Algorithm = Literal["float16", "bfloat16", "dynamic", "static", "qdq", "nearest", "hqq", "gptq"]

LABELS = {
    "block_size": "block size",
    "symmetric": "symmetry",
    "accuracy_level": "accuracy level",
    "method": "calibration method",
}
"""The settings as messages name them."""


class StoredBytes(Record, frozen=True, kw_only=True):
    """Bytes per unit of each count of a `families.base.Component`, and per parameter that is in none of them."""

    matrices: float
    channels: float = 0
    looked_up: float
    rows: float = 0
    kernels: float = 1
    filters: float = 2  # a scale (fp16)
    others: float = 4


class Stroke(NamedTuple):
    """How a precision looks in figures, in any colour. A hollow marker is filled with the background."""

    dashes: tuple[float, ...]
    marker: str
    hollow: bool


class Recipe(Record, frozen=True, kw_only=True):
    name: str
    title: str
    algorithm: Algorithm | None  # None: weights stay as they were exported
    weight_bits: int
    activation_bits: int = 32  # of the numbers that weights are multiplied by
    settings: Settings = Settings()  # the usual ones
    limits: Limits
    calibrated: bool = False  # scales activations by data
    whole_graph: bool = False  # changes all operators, not only those with weights
    splits_attention: bool = False  # into its products, which onnxruntime does not fuse again
    keeps_gemm: bool = False  # others replace Gemm by MatMul and Add first
    opset: int = 7  # the oldest operator set that has its operators; older graphs are converted first
    copies: float = 1.3  # of all weights, in memory at once
    stored: StoredBytes
    activation_bytes: int = 4  # per element between operators
    torch_tolerance: float | None = None  # of outputs to PyTorch's, see `stages.verify`; None: recorded and not judged
    static_tolerance: float = 0.05  # of a static graph to the artifact: a number rounded the other way is a step off
    provider_tolerance: float  # of another provider's outputs to the CPU provider's, see `measure.output_tolerance`
    stroke: Stroke | None = None  # None: one of those for recipes without their own

    @property
    def quantized(self) -> bool:
        """Whether weights become integers, whose scales onnxruntime is expected to fuse into the products."""
        return self.weight_bits < 16

    @property
    def weight_only(self) -> bool:
        """Whether weights become integers and activations do not."""
        return self.quantized and self.activation_bits == 32

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

    def precision(self, requested: Settings = Settings()) -> Precision:  # noqa: B008  (immutable)
        """The precision of a result: this recipe, and the requested settings that differ from its usual ones.

        Raises:
            UsageError: as `with_settings`.

        >>> str(recipe("int4").precision(Settings(block_size=128, symmetric=True)))
        'int4-block128'
        """
        usual, settings = asdict(self.settings), asdict(self.with_settings(requested))
        differing = {name: value for name, value in settings.items() if value != usual[name]}
        return Precision(recipe=self.name, settings=Settings(**differing))


BLOCKS = Settings(block_size=32, symmetric=True, accuracy_level=4)
ASYMMETRIC = Settings(block_size=32, symmetric=False, accuracy_level=4)
RANGES = Settings(method="min-max")

EXACT = Limits(cosine=1, top1=1, kl=0, perplexity=1)
CLOSE = Limits(cosine=0.999, top1=0.98, kl=0.005, perplexity=1.01)
EIGHT_BITS = Limits(cosine=0.99, top1=0.9, kl=0.05, perplexity=1.05)
FOUR_BITS = Limits(cosine=0.95, top1=0.8, kl=0.2, perplexity=1.2)


def _all(size: int) -> StoredBytes:
    return StoredBytes(matrices=size, looked_up=size, kernels=size, filters=0, others=size)


BLOCK_OF_8 = 1 + 4 / 32  # a scale (fp32) per 32 weights
SCALE, SCALE_AND_ZERO = 2, 5  # in fp16; in fp32, and a zero point of 8 bits
SCALED = StoredBytes(matrices=1, channels=SCALE, looked_up=1, rows=SCALE)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name=FP32,
        title="32-bit floating point, as exported",
        algorithm=None,
        weight_bits=32,
        limits=EXACT,
        copies=1.15,  # in torch, on their way to the disk
        stored=_all(4),
        torch_tolerance=1e-4,
        static_tolerance=1e-4,
        provider_tolerance=0.0,
        stroke=Stroke((), "o", False),
    ),
    Recipe(
        name="fp16",
        title="16-bit floating point",
        algorithm="float16",
        weight_bits=16,
        activation_bits=16,
        limits=CLOSE,
        whole_graph=True,
        stored=_all(2),
        activation_bytes=2,
        provider_tolerance=5e-2,
        stroke=Stroke((1, 1.5), "D", False),
    ),
    Recipe(
        name="bf16",
        title="weights stored in bfloat16, computation in fp32",
        algorithm="bfloat16",
        weight_bits=16,
        limits=EIGHT_BITS,
        whole_graph=True,
        opset=13,
        stored=_all(2),
        provider_tolerance=0.15,  # 8 bits, as a8w8
        stroke=Stroke((6, 2, 1, 2), "v", False),
    ),
    Recipe(
        name="int8",
        title="dynamic int8: weights per channel, activations scaled in every run",
        algorithm="dynamic",
        weight_bits=8,
        activation_bits=8,
        limits=EIGHT_BITS,
        opset=11,
        stored=SCALED,
        provider_tolerance=0.15,
        stroke=Stroke((4, 2), "s", True),
    ),
    Recipe(
        name="int8-static",
        title="static int8 (QDQ) of matmuls: activations scaled by calibration; for CPUs",
        algorithm="static",
        weight_bits=8,
        activation_bits=8,
        settings=RANGES,
        limits=EIGHT_BITS,
        calibrated=True,
        keeps_gemm=True,
        opset=10,
        stored=SCALED,
        provider_tolerance=0.15,
    ),
    Recipe(
        name="a8w8",
        title="static QDQ of all operators, activations in 8 bits; for NPUs",
        algorithm="qdq",
        weight_bits=8,
        activation_bits=8,
        settings=RANGES,
        limits=EIGHT_BITS,
        calibrated=True,
        whole_graph=True,
        splits_attention=True,
        opset=10,
        copies=4.5,
        stored=StoredBytes(matrices=1, channels=SCALE_AND_ZERO, looked_up=1, filters=SCALE_AND_ZERO, others=1),
        provider_tolerance=0.15,
    ),
    Recipe(
        name="a16w8",
        title="static QDQ of all operators, activations in 16 bits; for NPUs",
        algorithm="qdq",
        weight_bits=8,
        activation_bits=16,
        settings=RANGES,
        limits=EIGHT_BITS,
        calibrated=True,
        whole_graph=True,
        splits_attention=True,
        opset=10,
        copies=4.5,
        stored=StoredBytes(matrices=1, channels=SCALE_AND_ZERO, looked_up=2, filters=SCALE_AND_ZERO, others=2),
        provider_tolerance=0.1,
    ),
    Recipe(
        name="int8-weights",
        title="weight-only 8 bits in blocks",
        algorithm="nearest",
        weight_bits=8,
        settings=BLOCKS,
        limits=EIGHT_BITS,
        stored=StoredBytes(matrices=BLOCK_OF_8, looked_up=BLOCK_OF_8),
        provider_tolerance=5e-2,  # the CPU rounds activations to 8 bits
    ),
    Recipe(
        name="int4",
        title="weight-only 4 bits in blocks",
        algorithm="nearest",
        weight_bits=4,
        settings=BLOCKS,
        limits=FOUR_BITS,
        stored=StoredBytes(matrices=0.5 + 4 / 32, looked_up=BLOCK_OF_8),
        provider_tolerance=5e-2,
        stroke=Stroke((2, 2), "^", True),
    ),
    Recipe(
        name="int4-hqq",
        title="weight-only 4 bits, zero points by HQQ",
        algorithm="hqq",
        weight_bits=4,
        settings=Settings(block_size=32),
        limits=FOUR_BITS,
        stored=StoredBytes(matrices=0.5 + 8 / 32, looked_up=BLOCK_OF_8),  # and a zero point in fp32
        provider_tolerance=5e-2,
    ),
    Recipe(
        name="int4-gptq",
        title="weight-only 4 bits, rounding errors compensated by GPTQ",
        algorithm="gptq",
        weight_bits=4,
        settings=ASYMMETRIC,
        limits=FOUR_BITS,
        calibrated=True,
        stored=StoredBytes(matrices=0.5 + 4.5 / 32, looked_up=BLOCK_OF_8),  # and a zero point of 4 bits
        provider_tolerance=5e-2,
    ),
)

QUANTIZATION_RECIPES = tuple(row for row in RECIPES if row.algorithm)
NAMES = tuple(row.name for row in RECIPES)
WEIGHT_ONLY = tuple(row.name for row in RECIPES if row.weight_only)


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownName: there is none.
    """
    for row in RECIPES:
        if row.name == name:
            return row
    raise UnknownName("precision", name, NAMES)


def recipe_of(precision: Precision) -> Recipe | None:
    """The recipe of a precision, whatever its settings; None where a foreign file computes in another type."""
    return next((row for row in RECIPES if row.name == precision.recipe), None)


def precisions_of(names: Iterable[str], settings: Settings | None = None) -> tuple[Precision, ...]:
    """The precisions that recipes make with a user's settings, in order; fp32 is left out.

    Raises:
        UnknownName: there is no such recipe.
        UsageError: one of them has no such setting.
    """
    rows = [recipe(name) for name in dict.fromkeys(names)]
    return tuple(row.precision(settings or Settings()) for row in rows if row in QUANTIZATION_RECIPES)
