"""Find weights: in a folder, in the local hub cache, on the hub, or by a seed."""

import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from edgeprof.errors import CheckpointError, MissingExtra, UsageError, first_line
from edgeprof.families import checkpoint, sentence_modules
from edgeprof.families.adapter import ADAPTER_CONFIG, ADAPTER_FILES, ADAPTER_WEIGHTS
from edgeprof.families.config_json import CONFIG_FILE
from edgeprof.process import Progress
from edgeprof.schema import Record, WeightsSource
from edgeprof.store import content_key, sha256_of

GGUF = ".gguf"

Mode = Literal["auto", "pretrained", "random"]

HUB_TIMEOUT_S = 5.0
SEED = 0
WEIGHT_FILES = (*checkpoint.WEIGHT_FILES, ADAPTER_WEIGHTS)
FILES = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "modules.json",
    "[0-9]*_*/config.json",
    "adapter_config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "preprocessor_config.json",
]


class Weights(Record, frozen=True, kw_only=True):
    """Where to load weights from; `folder` is None for random ones, and may be a GGUF file.

    `note` says why they are not the ones that a user might expect.
    """

    folder: str | None = None
    dense: tuple[str, ...] = ()  # folders of the dense layers that follow the model
    adapter: str | None = None  # folder of an adapter to merge into the model
    origin: str = ""  # what a user calls the place: a repository, or a folder's name
    seed: int = SEED
    note: str = ""

    @property
    def path(self) -> Path | None:
        return Path(self.folder) if self.folder is not None else None

    @property
    def source(self) -> WeightsSource:
        if self.folder is None:
            return WeightsSource(kind="random", seed=self.seed)
        return WeightsSource(kind="pretrained", origin=self.origin or Path(self.folder).name)

    def key(self) -> str:
        """Equal for equal weights: digests of config and weight files, or the seed."""
        if self.folder is None:
            return content_key("random", self.seed)
        return content_key("files", [(file.name, _digest(file)) for file in self._files()])

    def _files(self) -> list[Path]:
        """Config and weights of the model, of its dense layers, and of an adapter."""
        assert self.folder is not None
        if is_gguf(Path(self.folder)):
            return [Path(self.folder)]
        folders = [Path(folder) for folder in (self.folder, *self.dense)]
        files = [file for folder in folders for file in (folder / CONFIG_FILE, *checkpoint.weight_files(folder))]
        return files + [Path(self.adapter) / name for name in ADAPTER_FILES] if self.adapter else files


def in_folder(folder: Path, origin: str) -> Weights:
    """The weights in a checkpoint folder, of the model and of dense layers that follow it.

    Raises:
        CheckpointError: sentence-transformers modules that are not supported.
    """
    _, dense = sentence_modules.read(folder)
    return Weights(
        folder=str(sentence_modules.encoder_folder(folder)), dense=tuple(str(one) for one in dense), origin=origin
    )


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file."""
    return path.suffix.lower() == GGUF and path.is_file()


def _digest(file: Path) -> str:
    """The hub cache names a weight file by its sha256, which saves reading it."""
    name = file.resolve().name
    return name if file.is_symlink() and len(name) == 64 else sha256_of(file)


def cached(repository: str) -> Path | None:
    """The folder of a repository in the local hub cache, if config and weights are there.

    Raises:
        UsageError: the name is not valid for a repository.
    """
    hub = _hub("Reading the hub cache")
    try:
        found = [hub.try_to_load_from_cache(repository, name) for name in (CONFIG_FILE, ADAPTER_CONFIG)]
    except ValueError as problem:
        raise UsageError(f"{repository} is not a valid name of a hub repository.", "Check owner and name.") from problem
    for file in found:
        if isinstance(file, str) and any((Path(file).parent / name).exists() for name in WEIGHT_FILES):
            return Path(file).parent
    return None


def fetch(repository: str, progress: Progress) -> Path:
    """Download a repository's config and safetensors files to the local hub cache, with the user's own login.

    Raises:
        CheckpointError: the hub does not answer within five seconds, or has no such repository that this user may read.
    """
    hub = _hub("Downloading weights")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise CheckpointError("The hub is switched off (HF_HUB_OFFLINE).", "Use a local folder, or --weights random.")
    progress(f"looking up {repository} on the hub", None)
    _require_answer(repository, hub.get_token())
    progress(f"downloading {repository}", None)
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=FILES))
    except (OSError, ValueError) as problem:  # all errors of the hub client are of these kinds
        raise CheckpointError(
            f"{repository} could not be downloaded: {first_line(problem)}.", "Try again, or use a local folder."
        ) from problem


def _require_answer(repository: str, token: str | None) -> None:
    """Send the hub one request. A thread limits the time of all of it: name resolution and slow answers, too."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    hidden = f"has no {repository} that your token may read" if token else f"has no public {repository}"
    outcome: list[str] = []

    def request_model() -> None:
        try:
            request = urllib.request.Request(f"{endpoint}/api/models/{repository}", headers=headers)
            urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S).close()
            outcome.append("")
        except urllib.error.HTTPError as answer:
            outcome.append(hidden if answer.code in (401, 403, 404) else "")
        except (OSError, ValueError):
            outcome.append("cannot be reached")

    exchange = threading.Thread(target=request_model, daemon=True)
    exchange.start()
    exchange.join(HUB_TIMEOUT_S)
    problem = outcome[0] if outcome else f"did not answer within {HUB_TIMEOUT_S:g} s"
    if problem:
        raise CheckpointError(f"The hub ({endpoint}) {problem}.", "Use a local folder, or --weights random.")


def _hub(doing: str):  # type: ignore[no-untyped-def]
    try:
        import huggingface_hub
    except ImportError as missing:
        raise MissingExtra(doing, "huggingface_hub", "export") from missing
    return huggingface_hub
