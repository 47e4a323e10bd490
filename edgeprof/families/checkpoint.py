"""Read a checkpoint folder in the `transformers` layout, without torch and without running any of its code."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from edgeprof.errors import CheckpointError
from edgeprof.families import TRANSFORMERS, config_json, config_values, sentence_modules
from edgeprof.families.config_json import CONFIG_FILE, read_json, read_object
from edgeprof.families.transformers_family import Task, TransformersFamily
from edgeprof.schema import Architecture, Variant
from edgeprof.store import reading, within

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def described(folder: Path, name: str) -> Variant | None:
    """The variant in a folder; None where no family describes it in closed form.

    Raises:
        CheckpointError: as `read`, for a checkpoint that a family describes.
    """
    try:
        variant, _ = read(folder, name)
    except config_values.Undescribed:
        return None
    return variant


def read(folder: Path, name: str) -> tuple[Variant, Path]:
    """The variant in a folder, and the folder of its encoder.

    Raises:
        CheckpointError: no readable config.json, a setting out of its range, an unknown architecture, no safetensors
            weights, or a path that leads out of the folder.
    """
    folder = sentence_modules.encoder_folder(folder)
    written = _config(folder)
    family = _family(written, folder)
    task = _task(family, written, folder)
    config = config_values.read(
        family.written(_labelled(written)), family.settings, family.aliases, folder / CONFIG_FILE
    )
    if task.name == "base" and not any("pooler." in tensor for tensor in tensor_names(folder)):
        task = next((other for other in family.tasks if other.name == "encoder"), task)
    variant = Variant(name=name, family=family.name, task=task.name, config=config, max_tokens=None, source=str(folder))
    family.require_consistent(variant, folder / CONFIG_FILE)
    most, before_rescaling = family.most_tokens(variant), config_json.tokens_before_rescaling(written)
    most = min(most, before_rescaling) if most and before_rescaling else most
    return msgspec.structs.replace(variant, max_tokens=most), folder


def architecture(folder: Path) -> Architecture:
    """The model in a folder, as far as its config.json describes it: any of `transformers`.

    Raises:
        CheckpointError: no readable config.json, no model type, or quantized weights.
    """
    modules, _ = sentence_modules.read(folder)
    folder = sentence_modules.encoder_folder(folder)
    config, file = _config(folder), folder / CONFIG_FILE
    named = config_json.class_name(config, file)
    return Architecture(
        class_name=sentence_modules.encoder_class(config_json.model_type(config, file)) if modules else named,
        model_type=config_json.model_type(config, file),
        config=config_json.sanitized(config, file),
        modules=modules,
        max_tokens=config_json.max_tokens(config),
        source=str(folder),
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint.

    Raises:
        CheckpointError: there are none; pickle files are refused.
    """
    single, index = (folder / name for name in WEIGHT_FILES)
    if single.is_file():
        return [single]
    if index.is_file():
        return _shards(index)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise CheckpointError(
            f"{folder} has its weights only as {pickles[0]}, a pickle, which can run code when it is opened.",
            "Save the model as safetensors (save_pretrained does) and export that.",
        )
    raise CheckpointError(f"{folder} holds no weights.", "Expected model.safetensors beside config.json.")


def _shards(index: Path) -> list[Path]:
    match read_json(index):
        case {"weight_map": {**shard_of_tensor}} if shard_of_tensor:
            names = sorted({str(shard) for shard in shard_of_tensor.values()})
        case _:
            raise CheckpointError(f"{index} names no weight files.", "Download it again.")
    shards = [within(index.parent, name, index, CheckpointError) for name in names]
    for shard in shards:
        if not shard.is_file():
            raise CheckpointError(f"{index.parent} lacks {shard.name}, which its index names.", "Download it again.")
    return shards


def tensor_names(folder: Path) -> list[str]:
    """Names of all tensors in a checkpoint, from the headers of its safetensors files."""
    return [name for file in weight_files(folder) for name in tensor_header(file)]


def params(folder: Path) -> int:
    """Number of values in a checkpoint, from the headers of its safetensors files."""
    shapes = (tensor.get("shape") for file in weight_files(folder) for tensor in tensor_header(file).values())
    return sum(math.prod(shape) for shape in shapes if isinstance(shape, list))


def tensor_header(path: Path) -> dict[str, Any]:
    """Name of tensor -> what a safetensors file says of it.

    Layout: 8 bytes little-endian header length, then a JSON object (https://huggingface.co/docs/safetensors).
    """
    with reading(path, CheckpointError), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
        except (ValueError, RecursionError) as problem:
            raise _no_safetensors(path) from problem
    if not isinstance(header, dict) or not all(isinstance(tensor, dict) for tensor in header.values()):
        raise _no_safetensors(path)
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}


def _no_safetensors(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is not a safetensors file.", "Download it again.")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no {CONFIG_FILE}.", "A checkpoint is a folder that save_pretrained wrote."
        )
    return read_object(path)


def _labelled(config: dict[str, Any]) -> dict[str, Any]:
    """With the number of classes as `transformers` reads it: from the label table where there is one."""
    table = config.get("id2label")
    return {**config, "num_labels": len(table)} if isinstance(table, dict) and table else config


def _family(config: dict[str, Any], folder: Path) -> TransformersFamily:
    for family in TRANSFORMERS:
        if family.model_type == config.get("model_type"):
            return family
    raise config_values.Undescribed(
        f"{folder} is of model type '{config.get('model_type', 'unknown')}', of which edgeprof has no closed form.",
        "Export it, then explain the exported file, whose graph is counted.",
    )


def _task(family: TransformersFamily, config: dict[str, Any], folder: Path) -> Task:
    architecture = config_json.class_name(config, folder / CONFIG_FILE)
    for task in family.tasks:
        if architecture == task.architecture or (architecture == config_json.AUTO_CLASS and task.name == "base"):
            return task
    known = ", ".join(dict.fromkeys(task.architecture for task in family.tasks))
    raise config_values.Undescribed(
        f"{folder} is a {architecture}, of which edgeprof has no closed form.",
        f"Export it, then explain the exported file. With a closed form: {known}.",
    )
