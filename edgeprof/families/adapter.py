"""An adapter folder: small tensors that `peft` adds to the weights of a base model, which the folder names."""

import re
from pathlib import Path
from typing import Any

import msgspec

from edgeprof.errors import CheckpointError
from edgeprof.families.checkpoint import WEIGHT_FILES, tensor_header
from edgeprof.families.config_json import read_object
from edgeprof.families.config_values import refusal
from edgeprof.schema import Architecture

ADAPTER_FILES = ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

MERGED = ("LORA", "LOHA", "LOKR", "IA3")
"""Kinds of adapters that become part of the weights; prompts and prefixes are inputs instead."""

SETTINGS = frozenset(
    (
        *("task_type", "r", "lora_alpha", "alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "bias"),
        *("lora_bias", "fan_in_fan_out", "target_modules", "exclude_modules", "feedforward_modules", "modules_to_save"),
        *("target_parameters", "layers_to_transform", "layers_pattern", "use_effective_conv2d", "decompose_both"),
        *("decompose_factor", "trainable_token_indices", "ensure_weight_tying"),
    )
)
"""Keys of adapter_config.json that say how the tensors are merged."""

OF_TRAINING = re.compile(
    r"peft_type|peft_version|base_model_name_or_path|revision|inference_mode|auto_mapping|init_\w+"
    r"|\w*_?dropout|rank_dropout_scale|megatron_\w+|loftq_config|eva_config|runtime_config|qalora_group_size"
)
"""Keys that no longer matter."""

OWN_TOOL = "Merge it with the tool it was trained with, and export the result."

STARTS = re.compile(r"pissa(_niter_\d+)?|olora")
"""Ways to start a training that also changed the base: they are repeated before the merge."""
HARMLESS_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")

CLASS_OF_TASK = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "FEATURE_EXTRACTION": "AutoModel",
}
HEADS = re.compile(r"(?:^|\.)(?:score|classifier|classifier\.out_proj|out_proj|classification_head\.out_proj)\.weight$")
"""Names of the matrix whose rows are the labels."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no model of its own."""
    return (folder / ADAPTER_CONFIG).is_file() and not any((folder / name).is_file() for name in WEIGHT_FILES)


def base_name(folder: Path) -> str:
    """What an adapter calls the model that it was trained on: a folder or a hub repository.

    Raises:
        CheckpointError: nothing, or no text.
    """
    file = folder / ADAPTER_CONFIG
    name = read_object(file).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise refusal(file, "base_model_name_or_path", name, "Set it to the folder of the base model.")
    return name


def settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """The kind of an adapter, and the settings that its configuration class gets.

    Raises:
        CheckpointError: an adapter that cannot be merged; names the key.
    """
    file = folder / ADAPTER_CONFIG
    config = read_object(file)
    kind = config.get("peft_type")
    if kind not in MERGED:
        raise refusal(file, "peft_type", kind, f"Adapters that can be merged are {', '.join(MERGED)}.")
    chosen: dict[str, Any] = {}
    for key, value in config.items():
        if key in SETTINGS:
            chosen[key] = value
        elif value and not OF_TRAINING.fullmatch(key):
            raise refusal(file, key, value, OWN_TOOL)
    start = config.get("init_lora_weights")
    if isinstance(start, str) and STARTS.fullmatch(start):
        chosen["init_lora_weights"] = start
    elif start not in HARMLESS_STARTS:
        raise refusal(file, "init_lora_weights", start, OWN_TOOL)
    return str(kind), chosen


def adapted(base: Architecture, folder: Path) -> Architecture:
    """The architecture of a base with the head that an adapter was trained with."""
    _, chosen = settings(folder)
    class_name = CLASS_OF_TASK.get(str(chosen.get("task_type")), base.class_name)
    if class_name.startswith("AutoModelFor") and base.class_name.endswith(class_name.removeprefix("AutoModel")):
        class_name = base.class_name
    config = base.config
    if class_name.endswith(("SequenceClassification", "TokenClassification")):
        shapes = (tensor.get("shape") for name, tensor in tensors(folder).items() if HEADS.search(name))
        labels = next((shape[0] for shape in shapes if isinstance(shape, list) and shape), None)
        config = config if labels is None else {**config, "num_labels": labels}
    return msgspec.structs.replace(base, class_name=class_name, config=config)


def tensors(folder: Path) -> dict[str, Any]:
    """Names of the tensors of an adapter -> what the file says of them.

    Raises:
        CheckpointError: no safetensors.
    """
    file = folder / ADAPTER_WEIGHTS
    if not file.is_file():
        raise CheckpointError(
            f"{folder} lacks {ADAPTER_WEIGHTS}.",
            "Save the adapter as safetensors (save_pretrained does) and export that.",
        )
    return tensor_header(file)
