"""From a configuration and a checkpoint's tensors, or a seed, to a module of `transformers`.

`transformers` gets values and tensors, never the folder: it would load what files there name. Classes come from its own
package, by name. Run in a child process, which the hub is closed to.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof.errors import CheckpointError, EdgeprofError, first_line
from edgeprof.families import checkpoint, config_json
from edgeprof.schema import Architecture
from edgeprof.stages.export import adapters, gguf
from edgeprof.stages.export.sentence_embedding import embedder
from edgeprof.stages.weights import Weights, is_gguf

if TYPE_CHECKING:
    import torch

EXPERTS = "batched_mm"
"""How a mixture of experts is traced: by products that do not depend on which experts a token goes to."""

BUFFERS = ("attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias", "inv_freq", "position_ids")
"""Ends of tensor names under which old checkpoints hold what models compute today: masks, tables of positions."""

NO_PADDING = -1
"""The padding token of models that have none: classifiers then use the last token of every row."""

OTHER_AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForImageTextToText")


def load(architecture: Architecture, weights: Weights) -> torch.nn.Module:
    """The model of an architecture, in float32 and evaluation mode.

    Raises:
        CheckpointError: the class is none of `transformers`, a configuration value is wrong, or a tensor of the
            checkpoint is missing, unexpected or of another shape than the configuration requires.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = _config(architecture)
    kind = _class(architecture, config)
    try:
        model = _random(kind, config, weights.seed) if weights.folder is None else _trained(kind, config, weights)
    except (EdgeprofError, MemoryError):
        raise
    except ImportError as missing:
        raise CheckpointError(
            f"{kind.__name__} needs another package: {first_line(missing)}.", "Install it, then export again."
        ) from missing
    except Exception as problem:  # classes raise every kind there is for values that they cannot work with
        raise _wrong(architecture, f"{kind.__name__} cannot be built: {_cause(problem)}") from problem
    if architecture.modules:
        model = embedder(model, architecture.modules)
        for layer, folder in zip(
            model.get_submodule("dense").children(), weights.dense, strict=weights.folder is not None
        ):
            _fill(layer, Path(folder))
    text = model.config.get_text_config()
    if getattr(text, "pad_token_id", None) is None:
        text.pad_token_id = NO_PADDING
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation(EXPERTS)
    model.eval()
    return model  # type: ignore[no-any-return]


def _config(architecture: Architecture) -> Any:
    """The configuration in `transformers`' own class."""
    import transformers

    if architecture.model_type not in transformers.CONFIG_MAPPING:
        version = f"transformers {transformers.__version__}"
        raise _wrong(architecture, f"{version} has no model type '{architecture.model_type}'")
    values = transformers.PreTrainedConfig._decode_special_floats(architecture.config)
    try:
        config = transformers.AutoConfig.for_model(architecture.model_type, **values)
    except Exception as problem:  # validators raise every kind there is
        raise _wrong(architecture, _cause(problem)) from problem
    if hasattr(config, "use_pretrained_backbone"):  # in older versions true by default: the backbone is fetched
        config.use_pretrained_backbone = False
    return config


def _cause(problem: BaseException) -> str:
    """What was wrong with a value: validators wrap it in an error that names the key alone."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    if isinstance(problem, KeyError):
        return f"{problem} is unknown"
    return first_line(problem).partition(". Errors: ")[0]


def _class(architecture: Architecture, config: Any) -> Any:
    """The class of `transformers` that computes the model."""
    import transformers

    if architecture.class_name.startswith(config_json.AUTO_CLASS):
        return _class_for(architecture, config)
    kind: Any = getattr(transformers, architecture.class_name, None)
    if not _is_model(kind):
        raise _wrong(architecture, f"`transformers` has no model called {architecture.class_name}")
    if not isinstance(config, kind.config_class) and kind not in _usual(config):
        raise _wrong(architecture, f"a model of type {architecture.model_type} is no {architecture.class_name}")
    return kind


def _is_model(kind: Any) -> bool:
    import transformers

    known = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    return known and getattr(kind, "config_class", None) is not None


def _usual(config: Any) -> list[Any]:
    """The classes that `transformers` has for a configuration, some of them with another one of their own."""
    import transformers

    mappings = [getattr(transformers, name)._model_mapping for name in (config_json.AUTO_CLASS, *OTHER_AUTO_CLASSES)]
    return [mapping[type(config)] for mapping in mappings if type(config) in mapping]


def _class_for(architecture: Architecture, config: Any) -> Any:
    """The class that `transformers` has for a model type and a task, such as AutoModelForSequenceClassification."""
    import transformers

    classes = getattr(transformers, architecture.class_name, None)
    mapping = getattr(classes, "_model_mapping", {})
    if type(config) not in mapping:
        raise _wrong(architecture, f"`transformers` has no {architecture.class_name} of type {architecture.model_type}")
    kind = mapping[type(config)]
    return kind[0] if isinstance(kind, tuple) else kind


def _random(kind: Any, config: Any, seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    return kind(config)


def _trained(kind: Any, config: Any, weights: Weights) -> Any:
    import torch
    from safetensors import SafetensorError

    assert weights.folder is not None
    folder = Path(weights.folder)
    if is_gguf(folder):
        model, info = gguf.load(kind, config, folder)
        _require_fit(model, info, folder, [])
        return model
    adapter = Path(weights.adapter) if weights.adapter else None
    try:
        given = tensors(folder)
        model, info = kind.from_pretrained(
            None,
            config=config,
            state_dict=given,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_options(kind, given),
        )
    except (SafetensorError, OSError) as problem:
        raise CheckpointError(f"{folder} cannot be loaded: {first_line(problem)}.", "Download it again.") from problem
    _require_fit(model, info, folder, adapters.supplied(adapter) if adapter else [])
    return adapters.merged(model, adapter) if adapter else model


def _fill(layer: torch.nn.Module, folder: Path) -> None:
    """Give a dense layer of sentence-transformers its weights."""
    given = {name.removeprefix("linear."): tensor for name, tensor in tensors(folder).items()}
    for name, parameter in layer.named_parameters():
        if name not in given:
            raise _misfit(f"Tensor linear.{name}, which config.json requires, is not in {folder}.")
        if given[name].shape != parameter.shape:
            shapes = f"{tuple(given[name].shape)} in {folder}, but config.json requires {tuple(parameter.shape)}"
            raise _misfit(f"Tensor linear.{name} has shape {shapes}.")
        parameter.data.copy_(given[name])


def _options(kind: Any, names: Iterable[str]) -> dict[str, Any]:
    """Arguments of a class besides the configuration: no pooler where the checkpoint has none."""
    if "add_pooling_layer" not in inspect.signature(kind.__init__).parameters:
        return {}
    return {} if any("pooler." in name for name in names) else {"add_pooling_layer": False}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, memory-mapped from its files.

    Raises:
        CheckpointError: weights are stored as integers, which only the tool that quantized them can interpret.
    """
    from safetensors import safe_open

    found: dict[str, torch.Tensor] = {}
    for file in checkpoint.weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            found.update({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118  (no mapping)
    for name, tensor in found.items():
        if name.endswith(".weight") and (not tensor.is_floating_point() or tensor.itemsize == 1):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"Tensor {name} of {folder} is stored as {kind}: the checkpoint is quantized.",
                "Export the unquantized checkpoint; --precision makes the file smaller.",
            )
    return found


def _require_fit(model: Any, info: dict[str, Any], folder: Path, supplied: Collection[str]) -> None:
    """Check that every tensor of a checkpoint has its place, and every place its tensor, here or `supplied` later."""
    for name, actual, expected in info["mismatched_keys"]:
        shapes = f"{tuple(actual)} in {folder}, but config.json requires {tuple(expected)}"
        raise _misfit(f"Tensor {name} has shape {shapes}.")
    for name in sorted(set(info["missing_keys"]) - set(supplied)):
        raise _misfit(f"Tensor {name}, which config.json requires, is not in {folder}.")
    modules = {name for name, _ in model.named_modules()}
    for name in sorted(info["unexpected_keys"]):
        if not name.endswith(BUFFERS) and _in_the_body(name, modules, model.base_model_prefix):
            raise _misfit(f"Tensor {name} of {folder} has no place in the model that config.json describes.")


def _in_the_body(name: str, modules: set[str], prefix: str) -> bool:
    """Whether a tensor without a place belongs to a part that the model has, rather than to the head of another task.

    It does if the model has the module that owns it, or a list of layers that would have to be longer.
    """
    parts = name.split(".")
    for given in (parts, [prefix, *parts]):
        known = max((end for end in range(len(given)) if ".".join(given[:end]) in modules), default=0)
        inside = given[:known]
        if known and (known == len(given) - 1 or given[known].isdecimal() or any(map(str.isdecimal, inside))):
            return True
    return False


def _misfit(what: str) -> CheckpointError:
    return CheckpointError(what, "Config and weights do not belong together: get both from the same place.")


def _wrong(architecture: Architecture, what: str) -> CheckpointError:
    where = f"{architecture.source}: " if architecture.source else ""
    return CheckpointError(f"{where}{what}.", "Correct config.json, or get it from the place of the weights.")
