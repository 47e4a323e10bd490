"""What a family defines: its sizes and its formulas; a traced one, also its inputs and how PyTorch runs it.

None of it needs torch, except the methods that take or return a torch module, which import torch themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from edgeprof.families.expected_fusions import fusions
from edgeprof.recipe_table import StoredBytes
from edgeprof.schema import Case, Logits, Phase, Record, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch

BATCH = "batch_size"
TOKENS = "sequence_length"
PAST = "past_sequence_length"
TOTAL = "past_sequence_length + sequence_length"
SOURCE = "encoder_sequence_length"
FRAMES = "frames"
HEIGHT = "height"
WIDTH = "width"

SampleKind = Literal["text", "image", "none"]
"""What data a model is calibrated and evaluated on; "none": only arrays, for want of a common meaning."""

Arrays = dict[str, "np.ndarray[Any, Any]"]


class Summary(Record, frozen=True, kw_only=True):
    """The sizes of a variant under the same names in every family; None where it has no such size."""

    layers: int
    width: int
    heads: int | None = None
    vocabulary: int | None = None
    positions: int | None = None  # rows of the position table: the most tokens it can process
    image: int | None = None  # side of the images it was trained on, in pixels
    patch: int | None = None  # side of a patch, in pixels
    channels: int | None = None  # of an image


class Component(Record, frozen=True, kw_only=True):
    """A part of the model that occurs `count` times. All numbers are of one occurrence, in one run at one shape.

    `activations` and `live` count elements of an implementation that works in place where it can (softmax, activation
    functions, residual additions). `live` are those alive while the part runs: its inputs, its outputs and the
    residual stream, without KV cache.
    """

    name: str
    count: int = 1
    in_block: bool = False  # part of the repeated block: `count` is a multiple of the number of layers
    params: int = 0
    matrices: int = 0  # of these, parameters in matrices that are multiplied: weight quantization reaches them
    channels: int = 0  # output channels of those matrices: each gets a scale when quantized
    looked_up: int = 0  # parameters in a table that is only looked up
    rows: int = 0  # of that table: each gets a scale where it is quantized by rows
    kernels: int = 0  # parameters in kernels of convolutions
    filters: int = 0  # output channels of those: each gets a scale when quantized
    macs: int = 0
    activations: int = 0  # elements it writes
    live: int = 0
    cached: int = 0  # elements in the KV cache after the run, of all tokens so far

    def weight_bytes(self, stored: StoredBytes) -> int:
        """Bytes of its parameters, as a recipe stores them."""
        others = self.params - self.matrices - self.looked_up - self.kernels  # biases, norms
        return round(
            stored.matrices * self.matrices
            + stored.channels * self.channels
            + stored.looked_up * self.looked_up
            + stored.rows * self.rows
            + stored.kernels * self.kernels
            + stored.filters * self.filters
            + stored.others * others
        )


class Family(ABC):
    """One kind of model, in closed form. Its models are exported by probing, unless it is a `TracedFamily`."""

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]]  # configuration values that a variant's `config` may leave out
    variants: ClassVar[tuple[Variant, ...]]
    sample_kind: ClassVar[SampleKind] = "none"
    trained: ClassVar[bool] = False  # its models have trained weights, so random ones deserve a note
    rms_norms: ClassVar[bool] = False  # its norms divide by the root mean square, without subtracting the mean
    single_layer: ClassVar[bool] = False  # its models are single layers, which figures compare with each other

    # --- counted ---

    @abstractmethod
    def summary(self, variant: Variant) -> Summary: ...

    @abstractmethod
    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Parameters and MACs of each part, in one run at `case`; 1 MAC = 2 FLOP, softmax and norms not counted."""

    def params(self, variant: Variant) -> int:
        """Exact number of parameters, tied tensors counted once."""
        return sum(part.count * part.params for part in self.components(variant, self.example(variant)))

    def macs(self, variant: Variant, case: Case, logits: Logits = "all") -> int:
        return sum(part.count * part.macs for part in self.components(variant, case, logits))

    def notes(self, variant: Variant) -> tuple[str, ...]:
        """Remarks for a reader of its numbers."""
        return ()

    def activation(self, variant: Variant) -> str:
        """The function between the two layers of an MLP, by its name in `transformers`."""
        return "gelu"

    def fusions(self, variant: Variant, opset: int, *, fused: bool = False) -> dict[str, int]:
        """Fused operators that onnxruntime has to run, and how many of each: see `expected_fusions`."""
        parts = self.components(variant, self.example(variant))
        return fusions(parts, self.activation(variant), opset, fused=fused, rms=self.rms_norms)

    # --- sized ---

    def options(self, variant: Variant) -> Mapping[str, str]:
        """Configuration values that a user may choose, each with its abbreviation in the name of a variant."""
        return {}

    # --- shaped ---

    def example(self, variant: Variant) -> Case:
        """A shape it runs at; all sizes are 2 or more and differ from each other."""
        return Case(batch=2, tokens=5)

    def case(self, variant: Variant, phase: Phase, batch: int, length: int) -> Case:
        """The shape of one run; in decode the length is the number of cached tokens, and one token is new."""
        if phase == "decode":
            return Case(batch=batch, tokens=1, past_tokens=length)
        return Case(batch=batch, tokens=length)

    def length_note(self, variant: Variant, phase: Phase) -> str:
        """What a token length means, where a model has several; empty where it goes without saying."""
        return ""

    def true_tokens(self, variant: Variant, tokens: int) -> int:
        """The largest possible token length of at most `tokens`; 0 if there is none."""
        return tokens

    def fixed_tokens(self, variant: Variant, phase: Phase = "prefill") -> int | None:
        """The only token length that this variant can run at in a phase; None where there are several."""
        return None

    def most_tokens(self, variant: Variant) -> int | None:
        """The most tokens that a checkpoint with this configuration processes; None where there is no limit."""
        return self.summary(variant).positions

    def sample_tokens(self, variant: Variant, tokens: int) -> int:
        """The token length of a sample: `tokens`, unless inputs have a usual size."""
        return tokens

    def table_rows(self, variant: Variant) -> dict[str, int]:
        """Inputs that index a table, and how many rows it has."""
        summary = self.summary(variant)
        tables = {"input_ids": summary.vocabulary, "position_ids": summary.positions}
        return {name: rows for name, rows in tables.items() if rows is not None}

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        """The value of every symbol of its inputs at a shape."""
        return {
            BATCH: case.batch,
            TOKENS: case.tokens,
            PAST: case.past_tokens,
            TOTAL: case.past_tokens + case.tokens,
        }

    def caches(self, variant: Variant) -> bool:
        """Whether this variant has a KV cache, and therefore a decode phase."""
        return False

    def generates(self, variant: Variant) -> bool:
        """Whether this variant has an LM head that predicts the next token, so `logits` may be "last"."""
        return False

    # --- common ---

    def value(self, variant: Variant, key: str) -> Any:
        """A configuration value of a variant, or the family's default."""
        value = variant.config.get(key)
        return self.defaults[key] if value is None else value


class TracedFamily(Family):
    """A family that gives the inputs of its models itself, and the reference values to verify them by."""

    shapes: ClassVar[tuple[Case, ...]]  # traced at the first, verified at the others; see `example`

    # --- shaped ---

    def example(self, variant: Variant) -> Case:
        """The shape it is traced at."""
        return self.shapes[0]

    def cases(self, variant: Variant) -> tuple[Case, ...]:
        """The shapes it is verified at: those that fit within its maximum length."""
        most = variant.max_tokens
        return tuple(case for case in self.shapes[1:] if most is None or case.past_tokens + case.tokens <= most)

    @abstractmethod
    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]: ...

    @abstractmethod
    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]: ...

    # --- run by PyTorch ---

    @abstractmethod
    def build(self, variant: Variant) -> torch.nn.Module:
        """The model with random weights."""

    @abstractmethod
    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        """Random inputs at a shape; with a mask, the last row of a batch is padded on the right."""

    @abstractmethod
    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        """The results of the unmodified model, in the order of `outputs`; `feeds` are in the order of `inputs`."""

    def traceable(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> torch.nn.Module:
        """A module whose forward takes the tensors of `inputs` in order and returns those of `outputs` as a tuple."""
        names = [spec.name for spec in self.inputs(variant)]

        def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.reference(model, dict(zip(names, tensors, strict=True)), logits))

        return traceable_module(model, forward)

    def torch_dims(self, variant: Variant) -> dict[str, Any]:
        """Symbols whose dimension torch needs a constraint for, besides that it is dynamic."""
        return {}


def integer(name: str, *dims: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype="int64", dims=dims)


def real(name: str, *dims: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=dims)


def row(
    family: str, task: str, name: str, *, max_tokens: int | None = None, source: str | None = None, **config: Any
) -> Variant:
    """A variant for a family's table; `config` is what differs from the family's defaults, or is worth stating."""
    return Variant(name=name, family=family, task=task, config=config, max_tokens=max_tokens, source=source)


def right_padded(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An attention mask of ones; in the last row of a batch the last token is padding."""
    import numpy as np

    mask = np.ones(shape, np.int64)
    if shape[0] > 1 and shape[1] > 1:
        mask[-1, -1] = 0
    return mask


def traceable_module(model: torch.nn.Module, forward: Callable[..., tuple[torch.Tensor, ...]]) -> torch.nn.Module:
    """A module that runs `forward`, a function over `model`, and owns the model's parameters."""
    import torch

    class Traceable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return forward(*tensors)

    return Traceable()
