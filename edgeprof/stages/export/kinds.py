"""Which graphs a model of `transformers` becomes: decided by what its class can do, not by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeprof.schema import Case, Logits
from edgeprof.stages.export.decoder import cache_name, decoders
from edgeprof.stages.export.encoder_decoder import encoder_and_decoder
from edgeprof.stages.export.images import image_cases, image_model
from edgeprof.stages.export.signature import main_input, model_inputs, optional_inputs, text_config
from edgeprof.stages.export.towers import is_pair, towers
from edgeprof.stages.export.vision_language import reads_images, vision_language
from edgeprof.stages.export.whole_model import SAMPLES, TEXT, GraphOfModel, WholeModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def graphs_of(
    model: PreTrainedModel, logits: Logits, *, fused: bool = False, fixed_images: bool = False
) -> list[GraphOfModel]:
    """The graphs of a model, each with its inputs, its cases, and its reference.

    Args:
        fused: compute a decoder's attention by one operator that writes its cache in place, where that is possible.
        fixed_images: take images of the usual size only.
    """
    generates = hasattr(model, "can_generate") and model.can_generate()
    if getattr(model.config, "is_encoder_decoder", False):
        if generates:
            return encoder_and_decoder(model)
    elif reads_images(model):
        return vision_language(model, logits)
    elif is_pair(model):
        return towers(model, _fitting(model, TEXT), image_cases(model))
    elif cache_name(model) and (generates or type(model).__name__.endswith("Model")) and _uses_cache(model):
        return decoders(model, logits, fused=fused)
    if main_input(model) == "pixel_values":
        return [image_model(model, fixed=fixed_images)]
    names = [main_input(model), *optional_inputs(model)]
    if getattr(model.config, "is_encoder_decoder", False) and not _classifies(model):
        names.append("decoder_input_ids")
    return [WholeModel(model, model_inputs(model, names), cases_of(model))]


def cases_of(model: PreTrainedModel) -> tuple[Case, ...]:
    """The shapes at which the main input of a model is traced and compared."""
    match main_input(model):
        case "pixel_values":
            return image_cases(model)
        case "input_values":
            return SAMPLES
    return _fitting(model, TEXT)


def _fitting(model: PreTrainedModel, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Those within the rows of its position table."""
    config = text_config(model)
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 10**9
    offset = 2  # of tables in which the first rows are for padding
    return tuple(case for case in cases if case.tokens <= max(most - offset, 7))


def _uses_cache(model: PreTrainedModel) -> bool:
    """Whether a model returns a cache that later tokens can use.

    Encoders take one for the case that they are used as decoders. Decoders that were trained as encoders still fill
    theirs, but every token changes what was computed for those before it.
    """
    import torch

    ids = torch.tensor([[1, 2, 3], [1, 2, 2]])
    result = model(input_ids=ids, use_cache=True)
    first = result[0][:, 0]
    return bool(getattr(result, cache_name(model), None)) and torch.allclose(first[0], first[1], atol=1e-4)


def _classifies(model: PreTrainedModel) -> bool:
    return "Classification" in type(model).__name__ or "QuestionAnswering" in type(model).__name__
