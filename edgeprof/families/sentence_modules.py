"""The modules after the transformer in a sentence-transformers folder: pooling, dense layers, normalization.

modules.json lists them, each with a Python class and a folder of its own. Known classes are recognized by name; nothing
is imported. Pooling modes and their order as in Reimers and Gurevych's sentence-transformers.
"""

import json
from pathlib import Path

from edgeprof.errors import CheckpointError
from edgeprof.families.config_json import AUTO_CLASS, CONFIG_FILE, read_json, read_object
from edgeprof.families.config_values import LARGEST, refusal
from edgeprof.schema import PoolingMode, SentenceModule
from edgeprof.store import within

MODULES_FILE = "modules.json"
PACKAGE, TRANSFORMER = "sentence_transformers.", "Transformer"

MODE_OF_FLAG: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flags of older versions -> mode, in the order of their results."""

MODES: dict[str, PoolingMode] = {
    **{mode: mode for mode in MODE_OF_FLAG.values()},
    "mean_sqrt_len_tokens": "mean_sqrt_len",
}

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")
"""Classes of `torch.nn` without weights."""

ENCODERS = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
}
"""Of these model types the encoder alone is used, of others the class without a head."""


def encoder_folder(folder: Path) -> Path:
    """The folder of the transformer: the folder itself, unless modules.json names another one.

    Raises:
        CheckpointError: modules.json names none, or one that is not within the folder.
    """
    return _listed(folder)[0][1] if (folder / MODULES_FILE).is_file() else folder


def encoder_class(model_type: str) -> str:
    """The class of a transformer whose tokens are pooled, whatever head it was trained with."""
    return ENCODERS.get(model_type, AUTO_CLASS)


def read(folder: Path) -> tuple[tuple[SentenceModule, ...], tuple[Path, ...]]:
    """The modules after the transformer, and the folders of the dense layers among them; none without modules.json.

    Raises:
        CheckpointError: a module or a setting that is not supported; names it.
    """
    modules: list[SentenceModule] = []
    dense: list[Path] = []
    for kind, where in _listed(folder)[1:] if (folder / MODULES_FILE).is_file() else ():
        match kind:
            case "Pooling":
                modules.append(SentenceModule(kind="pooling", modes=_modes(where / CONFIG_FILE)))
            case "Dense":
                modules.append(_dense(where / CONFIG_FILE))
                dense.append(where)
            case "Normalize":
                modules.append(SentenceModule(kind="normalize"))
            case "Dropout":  # nothing, once trained
                continue
            case _:
                raise _unknown(folder / MODULES_FILE, kind)
    if modules and modules[0].kind != "pooling":
        raise CheckpointError(f"{folder / MODULES_FILE} has no Pooling after the Transformer.", "Add its module.")
    return tuple(modules), tuple(dense)


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """Each module's class and folder."""
    file = folder / MODULES_FILE
    listed: list[tuple[str, Path]] = []
    written = read_json(file)
    for one in written if isinstance(written, list) else []:
        match one:
            case {"path": str(path), **others}:
                kind = str(others.get("type", TRANSFORMER))
                name = kind.rpartition(".")[2] if kind.startswith(PACKAGE) else kind
                listed.append((name, within(folder, path, file, CheckpointError)))
            case _:
                break
    if not listed or len(listed) < len(written):
        raise CheckpointError(f"{file} does not name the folder of the encoder.", "Use that folder itself.")
    if listed[0][0] != TRANSFORMER:
        raise _unknown(file, listed[0][0])
    return listed


def _unknown(file: Path, kind: str) -> CheckpointError:
    return CheckpointError(
        f"{file} names a module {json.dumps(kind)}, which edgeprof does not export.",
        "Supported are Transformer, Pooling, Dense, Normalize and Dropout.",
    )


def _modes(file: Path) -> tuple[PoolingMode, ...]:
    """Of one pooling module; their results are concatenated."""
    config = read_object(file)
    if "pooling_mode" in config:
        named = config["pooling_mode"]
        names = named if isinstance(named, list) else [named]
        if not names or any(name not in MODES for name in map(str, names)):
            raise refusal(file, "pooling_mode", named, f"Allowed is one or a list of: {', '.join(MODES)}.")
        return tuple(MODES[name] for name in names)
    return tuple(mode for flag, mode in MODE_OF_FLAG.items() if config.get(flag)) or ("mean",)


def _dense(file: Path) -> SentenceModule:
    config = read_object(file)
    for key in ("in_features", "out_features"):
        if type(config.get(key)) is not int or not 1 <= config[key] <= LARGEST:
            raise refusal(file, key, config.get(key), f"Allowed is a whole number from 1 to {LARGEST:,}.")
    for key, only in (("use_residual", False), ("module_input_name", "sentence_embedding")):
        if config.get(key, only) != only:
            raise refusal(file, key, config[key], f"Supported is {json.dumps(only)} alone.")
    if type(bias := config.get("bias", True)) is not bool:
        raise refusal(file, "bias", bias, "Allowed is true or false.")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    name = activation.rpartition(".")[2] if isinstance(activation, str) else ""
    if name not in ACTIVATIONS or not activation.startswith("torch.nn."):
        allowed = f"Supported are torch.nn's {', '.join(ACTIVATIONS)}."
        raise refusal(file, "activation_function", activation, allowed)
    return SentenceModule(
        kind="dense",
        in_width=config["in_features"],
        out_width=config["out_features"],
        bias=bias,
        activation=name,
    )
