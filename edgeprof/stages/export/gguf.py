"""GGUF files, through the reader of `transformers`: its configuration, and its weights unpacked to float32.

Run as a module, this file is the process that reads the configuration.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeprof import process
from edgeprof.errors import CheckpointError, MissingExtra, first_line
from edgeprof.families import config_json
from edgeprof.process import Progress
from edgeprof.schema import Architecture, Record

HEADS = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModel")
"""What a model in a GGUF file may be, the first that there is."""


class ReadRequest(Record, frozen=True, kw_only=True):
    file: str


def architecture(file: Path, progress: Progress) -> Architecture:
    """The model in a GGUF file.

    Raises:
        MissingExtra: a package that reads it is not installed.
        CheckpointError: it cannot be read, or holds a model that `transformers` does not read from GGUF.
    """
    for package in ("gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("Reading a GGUF file", package, "gguf")
    return process.call("edgeprof.stages.export.gguf", ReadRequest(file=str(file)), Architecture, progress=progress)


# --- in a child ----------------------------------------------------------------------------------------------------


def run(request: ReadRequest, progress: Progress) -> Architecture:
    os.environ["HF_HUB_OFFLINE"] = "1"
    progress("reading the GGUF file", None)
    import transformers

    file = Path(request.file)
    with _read(file) as folder:
        config, _ = transformers.PreTrainedConfig.get_config_dict(folder, gguf_file=file.name)
    kind = type(transformers.AutoConfig.for_model(config["model_type"]))
    classes = (getattr(transformers, name)._model_mapping.get(kind, None) for name in HEADS)
    head = next(found.__name__ for found in classes if found is not None)
    return Architecture(
        class_name=next(iter(config.get("architectures") or [head])),
        model_type=config_json.model_type(config, file),
        config=config_json.sanitized(config, file),
        max_tokens=config_json.max_tokens(config),
        source=str(file),
    )


def load(kind: Any, config: Any, file: Path) -> tuple[Any, dict[str, Any]]:
    """The model of a class with the weights of a file, and what `transformers` says of their names and shapes."""
    import torch
    import transformers

    unpack = getattr(transformers, "GgufConfig", None)  # of versions that could also keep weights packed
    options = {"quantization_config": unpack(dequantize=True)} if unpack else {}
    with _read(file) as folder:
        model, info = kind.from_pretrained(
            folder,
            gguf_file=file.name,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    return model, info


@contextlib.contextmanager
def _read(file: Path) -> Iterator[str]:
    """A folder with nothing but the file: `transformers` follows what other files beside it name."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / file.name).symlink_to(file.absolute())
        try:
            yield folder
        except Exception as problem:  # readers raise every kind there is for damaged files
            raise CheckpointError(
                f"{file} cannot be read: {first_line(problem)}.", "Export the model that it was made from."
            ) from problem


if __name__ == "__main__":
    process.serve(run, ReadRequest)
