"""The inputs of a model of `transformers`: by their names in its forward, which mean the same in every architecture.

Nothing here knows an architecture. A model takes its main input and those others of the table that its forward names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from edgeprof.errors import EdgeprofError
from edgeprof.families.base import BATCH, PAST, TOKENS, TOTAL, Arrays, integer, real, right_padded
from edgeprof.schema import Case, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

SOURCE, HEIGHT, WIDTH, FRAMES = "encoder_sequence_length", "height", "width", "frames"

OPTIONAL = ("attention_mask", "token_type_ids")
"""Inputs that many a forward takes and some ignore."""

CHOICES = 4  # of a multiple-choice question, as in SWAG
USUAL_IMAGE, USUAL_CHANNELS = 224, 3
SPECIAL = ("pad", "eos", "bos", "sep", "cls", "mask", "decoder_start", "image", "video", "audio", "unk")
"""Ids that models may treat differently: random text has none of them."""

Shape = tuple[int, ...]
Fill = Callable[[Shape, "np.random.Generator"], "NDArray[Any]"]


class ModelInput(NamedTuple):
    spec: TensorSpec
    fill: Fill


def forward_names(model: PreTrainedModel) -> list[str]:
    """Names of the parameters of its forward."""
    return list(inspect.signature(model.forward).parameters)


def main_input(model: PreTrainedModel) -> str:
    """The name of the input that it cannot do without."""
    return str(getattr(model, "main_input_name", "input_ids"))


def model_inputs(model: PreTrainedModel, names: Iterable[str], image: int | None = None) -> list[ModelInput]:
    """The inputs of these names.

    Args:
        image: the only side of images that the model takes; None where it takes any.

    Raises:
        EdgeprofError: one has a meaning that is not known here.
    """
    inputs = [_input(model, name) for name in names]
    return [ModelInput(_pinned(one.spec, image), one.fill) for one in inputs] if image else inputs


def _pinned(spec: TensorSpec, image: int) -> TensorSpec:
    return replace(spec, dims=tuple(image if dim in (HEIGHT, WIDTH) else dim for dim in spec.dims))


def _input(model: PreTrainedModel, name: str) -> ModelInput:
    config = model.config
    match name:
        case "input_ids" if type(model).__name__.endswith("ForMultipleChoice"):
            return ModelInput(integer(name, BATCH, CHOICES, TOKENS), token_ids(model))
        case "attention_mask" | "token_type_ids" if type(model).__name__.endswith("ForMultipleChoice"):
            fill = padded if name == "attention_mask" else below(_types(config))
            return ModelInput(integer(name, BATCH, CHOICES, TOKENS), fill)
        case "input_ids" | "decoder_input_ids":
            return ModelInput(integer(name, BATCH, TOKENS), token_ids(model))
        case "attention_mask":
            waves = main_input(model) == "input_values"
            return ModelInput(integer(name, BATCH, FRAMES if waves else TOKENS), padded_half if waves else padded)
        case "token_type_ids":
            return ModelInput(integer(name, BATCH, TOKENS), below(_types(config)))
        case "pixel_values":
            return ModelInput(real(name, BATCH, _channels(config), HEIGHT, WIDTH), normal)
        case "input_values" if hasattr(config, "num_mel_bins") and hasattr(config, "max_length"):
            return ModelInput(real(name, BATCH, config.max_length, config.num_mel_bins), normal)
        case "input_values":
            return ModelInput(real(name, BATCH, FRAMES), normal)
        case "input_features" if _fixed_frames(model):
            return ModelInput(real(name, BATCH, config.num_mel_bins, _fixed_frames(model)), normal)
        case "input_features":
            size = int(getattr(config, "feature_projection_input_dim", None) or config.num_mel_bins)
            return ModelInput(real(name, BATCH, FRAMES, size), normal)
    raise EdgeprofError(
        f"{type(model).__name__} takes an input '{name}', whose shape and values edgeprof does not know.",
        "Export the part of the model that computes from text, images or audio, or profile an .onnx file of it.",
    )


def optional_inputs(model: PreTrainedModel) -> list[str]:
    """Names of inputs besides the main one: masks and types that its forward takes and that have a choice."""
    names, main = forward_names(model), main_input(model)
    optional = []
    if "attention_mask" in names and main in ("input_ids", "input_values"):
        optional.append("attention_mask")
    if "token_type_ids" in names and main == "input_ids" and _types(model.config) > 1:
        optional.append("token_type_ids")
    return optional


def sizes_of(case: Case) -> dict[str, int]:
    """The value of every symbol in a case."""
    return {
        BATCH: case.batch,
        TOKENS: case.tokens,
        PAST: case.past_tokens,
        TOTAL: case.past_tokens + case.tokens,
        f"{PAST} + 1": case.past_tokens + 1,
        SOURCE: case.source_tokens,
        FRAMES: case.tokens,
        HEIGHT: case.image,
        WIDTH: case.image,
    }


def arrays_of(inputs: Iterable[ModelInput], case: Case, generator: np.random.Generator) -> Arrays:
    """Values of inputs in a case."""
    sizes = sizes_of(case)
    return {
        spec.name: fill(tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims), generator)
        for spec, fill in inputs
    }


# --- fills -----------------------------------------------------------------------------------------------------


def normal(shape: Shape, generator: np.random.Generator) -> NDArray[Any]:
    return generator.standard_normal(shape, dtype=np.float32)


def padded(shape: Shape, generator: np.random.Generator) -> NDArray[Any]:
    """Ones; in the last row the last position is padding."""
    return right_padded((int(np.prod(shape[:-1])), shape[-1])).reshape(shape)


def padded_half(shape: Shape, generator: np.random.Generator) -> NDArray[Any]:
    """Ones; the second half of the last row is padding: one sample of audio alone would change no frame."""
    mask = np.ones(shape, np.int64)
    mask[-1, shape[-1] // 2 :] = 0
    return mask


def below(most: int) -> Fill:
    return lambda shape, generator: generator.integers(0, most, shape)


def token_ids(model: PreTrainedModel) -> Fill:
    """Ids of ordinary tokens; a sequence ends with the end token where the model looks for it."""
    config = text_config(model)
    special = {value for name in SPECIAL for value in _ids(config, name) + _ids(model.config, name)}
    ordinary = np.array([token for token in range(config.vocab_size) if token not in special], np.int64)

    def fill(shape: Shape, generator: np.random.Generator) -> NDArray[Any]:
        ids: NDArray[Any] = generator.choice(ordinary, shape)
        end = _ids(config, "eos")
        if end and _reads_end(model):
            ids[..., max(shape[-1] - 2, 0)] = end[0]  # before the padding of the last row
        return ids

    return fill


def _ids(config: Any, name: str) -> list[int]:
    value = getattr(config, f"{name}_token_id", None) or getattr(config, f"{name}_token_index", None)
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]


def _reads_end(model: PreTrainedModel) -> bool:
    """Whether a model reads its result at the end token: text towers, and classifiers of encoder-decoders."""
    name = type(model).__name__
    return (
        "get_text_features" in dir(model)
        or name.endswith("TextModel")
        or "TextModelWith" in name
        or (bool(getattr(model.config, "is_encoder_decoder", False)) and "Classification" in name)
    )


def text_config(model: PreTrainedModel) -> Any:
    """The part of its configuration that has a vocabulary."""
    parts = (getattr(model.config, name, None) for name in ("text_config", "decoder"))
    return next((part for part in parts if hasattr(part, "vocab_size")), model.config)


# --- sizes that the configuration states -----------------------------------------------------------------------


def _types(config: Any) -> int:
    return int(getattr(config, "type_vocab_size", 0) or 0)


def _channels(config: Any) -> int:
    for part in (getattr(config, "vision_config", None), getattr(config, "encoder", None), config):
        for name in ("num_channels", "in_channels", "in_chans"):
            if isinstance(value := getattr(part, name, None), int):
                return value
    backbone = getattr(config, "backbone_config", None)
    return _channels(backbone) if backbone is not None else USUAL_CHANNELS


def image_side(config: Any) -> int:
    """The side of the images that a model was trained on, in pixels."""
    for part in (getattr(config, "vision_config", None), getattr(config, "encoder", None), config):
        value = getattr(part, "image_size", None)
        if isinstance(value, int):
            return value
        if isinstance(value, (list, tuple)) and value:
            return int(value[-1])
    backbone = getattr(config, "backbone_config", None)
    return image_side(backbone) if backbone is not None else USUAL_IMAGE


def _fixed_frames(model: PreTrainedModel) -> int:
    """The only number of frames that an audio encoder takes, as Whisper's does; 0 where it takes any."""
    config, encoder = model.config, getattr(model, "get_encoder", lambda: None)()
    positions = getattr(config, "max_source_positions", None)
    strides = [getattr(encoder, name).stride[0] for name in ("conv1", "conv2") if hasattr(encoder, name)]
    return int(positions * prod(strides)) if positions and strides else 0
