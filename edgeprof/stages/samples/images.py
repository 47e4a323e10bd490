"""Images as a vision model reads them: resized for it, and normalized as its checkpoint requires."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof import units
from edgeprof.errors import CheckpointError, UsageError, first_line
from edgeprof.families import family_of
from edgeprof.families.base import Arrays
from edgeprof.inputs import Signature
from edgeprof.inputs.run_inputs import usual_sizes
from edgeprof.schema import Artifact, Record, TensorSpec
from edgeprof.stages.samples.feeds import required
from edgeprof.stages.samples.splits import Part, chosen
from edgeprof.stages.samples.text import checkpoint_folder
from edgeprof.store import read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROCESSOR_FILE = "preprocessor_config.json"
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
BILINEAR = 2  # Pillow's number for it, and that of a preprocessor_config.json


class Processor(Record, frozen=True, kw_only=True):
    """How pixel values of 0 to 255 are normalized: (pixel * scale - mean) / std."""

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5,)  # for each channel, or for all
    std: tuple[float, ...] = (0.5,)
    resample: int = BILINEAR


def of_folder(
    artifact: Artifact, signature: Signature, folder: Path, part: Part, count: int, checkpoint: Path | None
) -> tuple[str, list[tuple[str, Arrays]]]:
    """One sample per image in a folder and those below it, in the order of their paths.

    Raises:
        UsageError: the model takes no images, there are none, or one cannot be read.
        CheckpointError: the checkpoint's preprocessor_config.json is damaged.
    """
    inputs = required(signature)
    if len(inputs) != 1 or len(inputs[0].dims) != 4 or inputs[0].dtype != "float32":
        names = ", ".join(spec.name for spec in inputs)
        raise UsageError(
            f"{folder} is a folder, as for images, but {artifact.name} takes {names}.",
            "Use a .txt or .npz file, or --calibration random.",
        )
    files = images_in(folder)
    spec = inputs[0]
    size, channels = _size(artifact, spec), spec.dims[1] if isinstance(spec.dims[1], int) else 3
    if channels not in (1, 3):
        raise UsageError(f"{artifact.name} takes images of {channels} channels.", "Pass them as arrays in a FILE.npz.")
    how = processor(checkpoint_folder(artifact, checkpoint), channels)
    picked = [files[index] for index in chosen(len(files), part, count)]
    data = f"images in {folder.resolve().name}, in {size[0]} x {size[1]}"
    return data, [(str(file.relative_to(folder)), {spec.name: _pixels(file, size, channels, how)}) for file in picked]


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and those below it, in the order of their paths.

    Raises:
        UsageError: there are none, or the folder cannot be read.
    """
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as problem:
        what = f"{folder} cannot be read: {problem.strerror}: {problem.filename}."
        raise UsageError(what, "Use a folder of images.") from problem
    if not files:
        raise UsageError(f"{folder} holds no images.", f"edgeprof reads {', '.join(sorted(SUFFIXES))}.")
    return files


def processor(folder: Path | None, channels: int) -> Processor:
    """The normalization in the preprocessor_config.json of a checkpoint, or the default.

    Raises:
        CheckpointError: the file is damaged.
    """
    from PIL import Image

    file = folder / PROCESSOR_FILE if folder else None
    if file is None or not file.is_file():
        return Processor()
    try:
        config = json.loads(read_bytes(file, CheckpointError))
        scaled, normal = config.get("do_rescale", True), config.get("do_normalize", True)
        return Processor(
            scale=_of_channels(config.get("rescale_factor", 1 / 255), 1)[0] if scaled else 1.0,
            mean=_of_channels(config.get("image_mean", 0.5), channels) if normal else (0.0,),
            std=_of_channels(config.get("image_std", 0.5), channels, least=0) if normal else (1.0,),
            resample=Image.Resampling(int(config.get("resample", BILINEAR))),
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise CheckpointError(f"{file} cannot be used: {first_line(problem)}.", "Download it again.") from problem


def _of_channels(value: Any, channels: int, least: float = -math.inf) -> tuple[float, ...]:
    """One number for all channels, or one for each."""
    numbers = tuple(map(float, value)) if isinstance(value, list) else (float(value),)
    if len(numbers) not in (1, channels) or not all(least < number < math.inf for number in numbers):
        raise ValueError(f"{value} cannot normalize {units.counted(channels, 'channel')}")
    return numbers


def _size(artifact: Artifact, spec: TensorSpec) -> tuple[int, int]:
    """Height and width: those that the file fixes, else those of the training images."""
    height, width = spec.dims[2:]
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    side = family_of(artifact.variant).summary(artifact.variant).image if artifact.variant else None
    if side is not None:
        return side, side
    usual = usual_sizes(artifact)
    if not usual:
        raise UsageError(f"The size of images for {artifact.name} is not known.", "Pass them as arrays in a FILE.npz.")
    return usual["height"], usual["width"]


def _pixels(file: Path, size: tuple[int, int], channels: int, how: Processor) -> NDArray[Any]:
    """[1, channels, height, width]"""
    from PIL import Image

    try:
        with Image.open(file) as image:
            colours = image.convert("RGB" if channels == 3 else "L")
            fitted = colours.resize((size[1], size[0]), Image.Resampling(how.resample))
    except Exception as problem:  # Pillow's decoders raise anything at a damaged file
        raise UsageError(f"{file} cannot be read as an image: {first_line(problem)}.", "Remove it.") from problem
    values = np.asarray(fitted, np.float64).reshape(*size, channels) * how.scale
    normal = (values - np.array(how.mean)) / np.array(how.std)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], dtype=np.float32)
