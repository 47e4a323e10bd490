"""Exported files, run and broken on purpose."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from edgeprof.schema import Artifact

Arrays = dict[str, Any]


def copy_of(artifact: Artifact, folder: Path) -> Artifact:
    """The artifact, in a folder that a test may change."""
    target = folder / "artifact"
    shutil.copytree(artifact.folder, target)
    return at(artifact, target / "model.onnx")


def at(artifact: Artifact, model: Path) -> Artifact:
    """The artifact, with its graph in another file."""
    return artifact.with_graphs([msgspec.structs.replace(artifact.graph(), path=str(model))])


def edit(artifact: Artifact, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the graph in place; its weights stay where they are."""
    model = onnx.load(artifact.location, load_external_data=False)
    change(model)
    onnx.save(model, artifact.location)


def run(path: str | Path, feeds: Arrays) -> Arrays:
    """All outputs by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def empty_cache(artifact: Artifact, batch: int = 1) -> Arrays:
    """A KV cache of no tokens."""
    return {
        spec.name: np.zeros((batch, spec.dims[1], 0, spec.dims[3]), np.float32)
        for spec in artifact.graph().inputs
        if spec.name.startswith("past_key_values")
    }


def decoder_feeds(ids: Any, past: Arrays, past_tokens: int) -> Arrays:
    batch, tokens = ids.shape
    return {
        "input_ids": ids,
        "attention_mask": np.ones((batch, past_tokens + tokens), np.int64),
        "position_ids": np.tile(np.arange(past_tokens, past_tokens + tokens), (batch, 1)),
        **past,
    }


def cache_of(outputs: Arrays) -> Arrays:
    """What a step leaves, under the names by which the next one takes it."""
    return {
        name.replace("present", "past_key_values"): value
        for name, value in outputs.items()
        if name.startswith("present")
    }
