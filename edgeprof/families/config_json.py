"""A config.json as data: what describes the model, without what `transformers` would fetch, load or run.

A config.json comes from anywhere. Besides sizes it can name attention kernels, quantizers, backbones, adapters, Python
files and other repositories, all of which `transformers` follows. Here they are left out, at every depth.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from edgeprof.errors import CheckpointError
from edgeprof.families.config_values import refusal
from edgeprof.store import read_bytes

CONFIG_FILE = "config.json"
AUTO_CLASS = "AutoModel"
"""Stands for the class that `transformers` has for a model type, where a config.json names none."""

NOT_PASSED_ON = frozenset(
    (
        # code, kernels, files and repositories
        *("auto_map", "trust_remote_code", "custom_pipelines", "_commit_hash"),
        *(
            "attn_implementation",
            "_attn_implementation",
            "_attn_implementation_internal",
            "_attn_implementation_autoset",
        ),
        *("experts_implementation", "_experts_implementation", "_experts_implementation_internal", "use_kernels"),
        *("fusion_config", "transformers_weights", "backbone_kwargs", "use_pretrained_backbone"),
        *("adapters", "peft_config", "distributed_config"),
        # chosen by the export
        *("dtype", "torch_dtype", "torchscript", "use_cache", "gradient_checkpointing"),
        *("return_dict", "use_return_dict", "output_attentions", "output_hidden_states", "output_router_logits"),
        # of no use here
        *("transformers_version", "task_specific_params", "label2id", "problem_type", "tokenizer_class"),
    )
)
"""Keys that are left out. Text with a slash is left out under every key: it is a path, an address or a repository."""

NOT_FINITE = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
"""Numbers that JSON has no word for, as `transformers` writes them: {"__float__": "Infinity"}."""

QUANTIZED = ("quantization_config", "compression_config")

POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions")
LENGTH_DEPENDENT = ("longrope", "su", "dynamic")
"""Types of rotary embeddings whose factors depend on the length."""

AFTER_PADDING = (
    *("camembert", "data2vec-text", "ibert", "layoutlmv3", "longformer", "luke", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Model types whose first position is the one after that of the padding token."""


def read_json(path: Path) -> Any:
    """The value in a JSON file of a checkpoint.

    Raises:
        CheckpointError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_bytes(path, CheckpointError))
    except (ValueError, RecursionError) as problem:
        raise CheckpointError(f"{path} is not valid JSON ({problem}).", "Download it again.") from problem


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint.

    Raises:
        CheckpointError: it cannot be read, or is none.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object.", "Download it again.")
    return value


def model_type(config: dict[str, Any], file: Path) -> str:
    """The model type of a config.json.

    Raises:
        CheckpointError: there is none, or it is no name.
    """
    match config.get("model_type"):
        case None:
            raise CheckpointError(f"{file} names no model_type.", "edgeprof exports models of `transformers`.")
        case str(name) if re.fullmatch(r"[\w.-]+", name):
            return name
        case other:
            raise refusal(file, "model_type", other, "Allowed is a model type of `transformers`.")


def class_name(config: dict[str, Any], file: Path) -> str:
    """The class that computes the model; AUTO_CLASS where config.json names none.

    Raises:
        CheckpointError: the value is not a list of names.
    """
    match config.get("architectures"):
        case None | []:
            return AUTO_CLASS
        case [str(name), *_] if name.isidentifier():
            return name
        case other:
            raise refusal(file, "architectures", other, "Allowed is a list of names.")


def sanitized(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """What is passed on to the model's configuration class.

    Raises:
        CheckpointError: the weights are quantized.
    """
    _require_unquantized(config, file)
    kept = _kept(config)
    return {name: value for name, value in kept.items() if name not in ("model_type", "architectures")}


def max_tokens(config: dict[str, Any]) -> int | None:
    """The most tokens that a model has positions for; None where any number is possible, or nothing is said."""
    text = config.get("text_config")
    if isinstance(text, dict):
        return max_tokens(text)
    if "relative_attention_num_buckets" in config:  # T5: distances instead of positions
        return None
    positions = next((config[key] for key in POSITIONS if type(config.get(key)) is int), None)
    if positions is None or positions < 1:
        return None
    positions = min(positions, tokens_before_rescaling(config) or positions)
    padding = config.get("pad_token_id")
    if config.get("model_type") in AFTER_PADDING and type(padding) is int:
        return int(positions) - padding - 1
    return int(positions)


def tokens_before_rescaling(config: dict[str, Any]) -> int | None:
    """The length beyond which the rotary embedding is another one, as `longrope` is: a graph holds the one before.

    >>> tokens_before_rescaling({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096})
    4096
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(scaling, dict) or (scaling.get("rope_type") or scaling.get("type")) not in LENGTH_DEPENDENT:
        return None
    key = "original_max_position_embeddings"
    length = config.get(key) or scaling.get(key) or config.get("max_position_embeddings")
    return length if isinstance(length, int) else None


def _require_unquantized(config: dict[str, Any], file: Path) -> None:
    for name, value in config.items():
        if name in QUANTIZED and value:
            method = value.get("quant_method") if isinstance(value, dict) else None
            by = f" by {method}" if isinstance(method, str) and method.isprintable() else ""
            raise CheckpointError(
                f"{file.parent} holds weights that were quantized{by}.",
                "Export the unquantized checkpoint; --precision makes the file smaller.",
            )
        if isinstance(value, dict):
            _require_unquantized(value, file)


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in config.items():
        if name in NOT_PASSED_ON or name.endswith("name_or_path") or _refers(value):
            continue
        if name == "backbone" and not config.get("use_timm_backbone"):  # a repository; timm's are names in its table
            continue
        if name == "id2label":  # labels are text that nothing here needs; their number is a size
            if isinstance(value, dict) and value:
                kept["num_labels"] = len(value)
        elif name != "num_labels" or "num_labels" not in kept:
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return _kept(value)
        case list():
            return [_plain(one) for one in value if not _refers(one)]
        case float() if not math.isfinite(value):
            return {"__float__": NOT_FINITE[str(value)]}
        case _:
            return value


def _refers(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)
