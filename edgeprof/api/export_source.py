"""What an export starts from: a row of `edgeprof models`, a checkpoint folder, an adapter, a GGUF file, a hub name."""

import re
from pathlib import Path

import msgspec

from edgeprof.errors import CheckpointError, UsageError
from edgeprof.families import adapter, architecture_of, checkpoint, family_of, find_variant, is_traced, resized
from edgeprof.families.config_json import CONFIG_FILE
from edgeprof.families.sentence_modules import MODULES_FILE
from edgeprof.process import Progress
from edgeprof.schema import Architecture, Record, Variant
from edgeprof.stages import weights as weights_stage
from edgeprof.stages.export import gguf
from edgeprof.stages.export.adapters import require_peft
from edgeprof.stages.weights import Mode, Weights

LM_HEADS = ("ForCausalLM", "LMHeadModel")
"""Ends of the names of classes that predict the next token."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class Source(Record, frozen=True, kw_only=True):
    """What a target refers to. `weights` is None until the hub was asked for them."""

    target: str
    name: str
    variant: Variant | None = None  # where a family describes it in closed form
    architecture: Architecture | None = None  # of a model that is exported by probing
    weights: Weights | None

    @property
    def model(self) -> Variant | Architecture:
        """What is exported; its location does not matter, its content does."""
        model = self.architecture or self.variant
        assert model is not None
        return msgspec.structs.replace(model, source=None)

    @property
    def generates(self) -> bool:
        """Whether it has an LM head that predicts the next token."""
        if self.variant is not None:
            return family_of(self.variant).generates(self.variant)
        return self.architecture is not None and self.architecture.class_name.endswith(LM_HEADS)

    @property
    def caches(self) -> bool:
        """Whether it is a decoder with a KV cache, as far as that is known before the export."""
        return self.generates or (self.variant is not None and family_of(self.variant).caches(self.variant))

    @property
    def params(self) -> int:
        """Number of parameters; 0 where only building it would tell."""
        if self.variant is not None:
            return family_of(self.variant).params(self.variant)
        folder = self.weights.folder if self.weights else None
        return checkpoint.params(Path(folder)) if folder and Path(folder).is_dir() else 0


def resolve(target: str, mode: Mode, sizes: dict[str, int], progress: Progress) -> Source:
    """What a target refers to. Repositories that are named explicitly are downloaded.

    Args:
        sizes: of a row, by option, see `resized`.

    Raises:
        UsageError: no such row or folder, or no such size option.
        CheckpointError: a checkpoint that cannot be exported.
        MissingExtra: a package that reads it is not installed.
    """
    path = Path(target).expanduser()
    if weights_stage.is_gguf(path):
        source = _gguf(target, path.resolve(), mode, progress)
    elif path.is_dir() and (len(path.parts) > 1 or target.startswith(".") or _is_checkpoint(path)):
        source = _folder(target, path.resolve(), path.resolve().name, mode, progress)
    elif target.startswith((".", "/", "~")):
        raise UsageError(f"There is no folder {target}.", "Check the path; a checkpoint is a folder with config.json.")
    elif HUB_NAME.fullmatch(target):
        source = _folder(target, _repository(target, progress), target.split("/")[1], mode, progress, origin=target)
    else:
        return _row(target, resized(find_variant(target), **sizes), mode)
    for option in sizes:
        raise UsageError(f"{target} has no option --{option}.", "A checkpoint has the sizes in its config.json.")
    return source


def fetched_weights(variant: Variant, mode: Mode, progress: Progress) -> Weights:
    """The weights of a row from the hub; random ones with a note where that is allowed.

    Raises:
        CheckpointError: there are none, and `mode` is "pretrained".
    """
    try:
        if variant.source is None:
            raise CheckpointError(f"No checkpoint of {variant.name} is published.", "Use --weights random.")
        return _row_weights(variant, weights_stage.fetch(variant.source, progress))
    except CheckpointError as problem:
        if mode == "pretrained":
            raise
        return Weights(note=f"{variant.name} has random weights: {problem.what}")


def _repository(name: str, progress: Progress) -> Path:
    return weights_stage.cached(name) or weights_stage.fetch(name, progress)


def _row(target: str, variant: Variant, mode: Mode) -> Source:
    return Source(
        target=target,
        name=variant.name,
        variant=variant,
        architecture=architecture_of(variant),
        weights=_known_weights(variant, mode),
    )


def _known_weights(variant: Variant, mode: Mode) -> Weights | None:
    """The weights that need no network: random or cached ones."""
    if mode == "random" or (mode == "auto" and not family_of(variant).trained):
        return Weights()
    folder = weights_stage.cached(variant.source) if variant.source else None
    return _row_weights(variant, folder) if folder else None


def _row_weights(variant: Variant, folder: Path) -> Weights:
    pools = (folder / MODULES_FILE).is_file()
    instead = f"{variant.name} has no pooling; edgeprof export {variant.source} includes it"
    return Weights(folder=str(folder), origin=variant.source or "", note=instead if pools else "")


# --- folders and files ------------------------------------------------------------------------------------------


def _is_checkpoint(folder: Path) -> bool:
    return any((folder / name).exists() for name in (CONFIG_FILE, adapter.ADAPTER_CONFIG, MODULES_FILE))


def _folder(target: str, folder: Path, name: str, mode: Mode, progress: Progress, origin: str = "") -> Source:
    if adapter.is_adapter(folder):
        return _adapter(target, folder, name, mode, progress, origin)
    files = sorted(folder.glob("*" + weights_stage.GGUF))
    if not files or _is_checkpoint(folder):
        return _checkpoint(target, folder, name, mode, origin)
    if len(files) > 1:
        raise UsageError(f"{folder} holds several GGUF files.", f"Name one of them, such as {files[0]}.")
    return _gguf(target, files[0], mode, progress)


def _checkpoint(target: str, folder: Path, name: str, mode: Mode, origin: str = "") -> Source:
    architecture = checkpoint.architecture(folder)
    variant = None if architecture.modules else checkpoint.described(folder, name)
    return Source(
        target=target,
        name=name,
        variant=variant,
        architecture=None if variant is not None and is_traced(variant) else architecture,
        weights=Weights() if mode == "random" else weights_stage.in_folder(folder, origin or folder.name),
    )


def _adapter(target: str, folder: Path, name: str, mode: Mode, progress: Progress, origin: str) -> Source:
    """A base model and the adapter that is merged into it."""
    require_peft()
    base = _base(folder, progress)
    source = _checkpoint(target, base, name, mode, origin or folder.name)
    architecture = checkpoint.architecture(base)
    adapted = adapter.adapted(architecture, folder)
    if adapted != architecture:  # another head
        source = msgspec.structs.replace(source, variant=None, architecture=adapted)
    if source.weights is not None and source.weights.folder is not None:
        source = msgspec.structs.replace(source, weights=msgspec.structs.replace(source.weights, adapter=str(folder)))
    return source


def _base(folder: Path, progress: Progress) -> Path:
    name = adapter.base_name(folder)
    for place in (folder / name, Path(name).expanduser()):
        if place.is_dir():
            return place.resolve()
    if HUB_NAME.fullmatch(name) and not name.startswith("."):
        return _repository(name, progress)
    raise CheckpointError(
        f"{folder} is an adapter of {name}, which is no folder here.",
        f"Set base_model_name_or_path in its {adapter.ADAPTER_CONFIG} to the folder of the base model.",
    )


def _gguf(target: str, file: Path, mode: Mode, progress: Progress) -> Source:
    return Source(
        target=target,
        name=file.stem,
        architecture=gguf.architecture(file, progress),
        weights=Weights() if mode == "random" else Weights(folder=str(file), origin=file.name),
    )
