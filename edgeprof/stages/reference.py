"""Reference values: results of PyTorch on disk, so that a device without torch can verify an ONNX file.

A reference file is an .npz; its keys are "b<batch>-t<tokens>-p<past>/in|out/<name>", and "schema_version". Where they
differ from 0, "-s<source tokens>" and "-i<side of images>" follow the past.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import VerificationError
from edgeprof.families.base import Arrays
from edgeprof.schema import Case
from edgeprof.schema.base import SCHEMA_VERSION
from edgeprof.schema.codec import require_known
from edgeprof.store import reading_arrays, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeprof.stages.export.blueprint import Blueprint


AGAIN = "Export the model again with --force."
VERSION = "schema_version"
GREEDY = "greedy/"
"""The beginning of the keys of what `export.greedy.expected` gives."""


def write(path: Path, blueprint: Blueprint, greedy: Arrays | None = None) -> None:
    """Run the unmodified model at every case but the traced one, and save inputs and outputs.

    Args:
        greedy: what the model generates, where it does: see `export.greedy.expected`.
    """
    import torch

    cases = []
    for index, case in enumerate(blueprint.cases[1:]):
        feeds = blueprint.feeds(case, np.random.default_rng(index))
        results = blueprint.reference({name: torch.from_numpy(array) for name, array in feeds.items()})
        cases.append((case, feeds, {name: one.numpy() for name, one in zip(blueprint.outputs, results, strict=True)}))
    save(path, cases, greedy)


def save(path: Path, cases: Iterable[tuple[Case, Arrays, Arrays]], greedy: Arrays | None = None) -> None:
    """Write cases with their inputs and outputs.

    Raises:
        StorageError: the file cannot be written.
    """
    arrays: Arrays = {VERSION: np.array(SCHEMA_VERSION)}
    arrays |= {f"{GREEDY}{name}": array for name, array in (greedy or {}).items()}
    for case, feeds, outputs in cases:
        arrays |= {f"{_label(case)}/in/{name}": array for name, array in feeds.items()}
        arrays |= {f"{_label(case)}/out/{name}": array for name, array in outputs.items()}
    with writing(path):
        np.savez(path, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> Iterator[tuple[Case, Arrays, Arrays]]:
    """Cases with their inputs and expected outputs.

    Raises:
        VerificationError: the file is missing, damaged, or not a reference file.
    """
    _require(path)
    with reading_arrays(path, VerificationError, AGAIN), np.load(path) as archive:
        arrays = dict(archive)
        require_known(arrays.pop(VERSION, np.array(1)).item(), str(path), VerificationError)
    arrays = {key: array for key, array in arrays.items() if not key.startswith(GREEDY)}
    if not all(re.fullmatch("[^/]+/(in|out)/.*", key, re.DOTALL) for key in arrays):
        raise _not_a_reference(path)
    for label in dict.fromkeys(key.split("/")[0] for key in arrays):
        case, parts = _case(label, path), {"in": Arrays(), "out": Arrays()}
        for key, array in arrays.items():
            owner, part, name = key.split("/", 2)
            if owner == label:
                parts[part][name] = array
        yield case, parts["in"], parts["out"]


def greedy(path: Path) -> Arrays:
    """What the model generates: see `export.greedy.expected`; empty where it does not.

    Raises:
        VerificationError: the file is missing or damaged.
    """
    _require(path)
    with reading_arrays(path, VerificationError, AGAIN), np.load(path) as archive:
        return {key.removeprefix(GREEDY): archive[key] for key in archive.files if key.startswith(GREEDY)}


def named(names: Iterable[str], outputs: Iterable[Any]) -> Arrays:
    """The arrays of outputs by name; a sequence has numbered arrays, a map has one of keys and one of values.

    >>> named(["a", "b"], [np.zeros(2), [{7: 0.5}]])
    {'a': array([0., 0.]), 'b[0].keys': array([7]), 'b[0].values': array([0.5])}
    """
    arrays: Arrays = {}
    for name, output in zip(names, outputs, strict=True):
        if isinstance(output, dict):
            arrays |= {f"{name}.keys": _array(list(output)), f"{name}.values": _array(list(output.values()))}
        elif isinstance(output, list):
            arrays |= named((f"{name}[{index}]" for index in range(len(output))), output)
        elif output is not None:  # an empty optional
            arrays[name] = _array(output)
    return arrays


def _array(value: Any) -> NDArray[Any]:
    """As an array that needs no pickle: strings of fixed length, and fp32 for types that numpy lacks."""
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return array.astype(np.str_)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def copy(source: Path, target: Path) -> None:
    """Copy the reference values to another artifact.

    Raises:
        VerificationError: there are none.
        StorageError: the file cannot be written.
    """
    _require(source)
    with writing(target):
        shutil.copyfile(source, target)


def _require(path: Path) -> None:
    if not path.is_file():
        raise VerificationError(f"There are no reference values at {path}.", AGAIN)


def _label(case: Case) -> str:
    others = {"s": case.source_tokens, "i": case.image}
    label = f"b{case.batch}-t{case.tokens}-p{case.past_tokens}"
    return label + "".join(f"-{letter}{size}" for letter, size in others.items() if size)


def _case(label: str, path: Path) -> Case:
    match = re.fullmatch(r"b(\d+)-t(\d+)-p(\d+)(?:-s(\d+))?(?:-i(\d+))?", label)
    if match is None:
        raise _not_a_reference(path)
    batch, tokens, past, source, image = (int(number or 0) for number in match.groups())
    return Case(batch=batch, tokens=tokens, past_tokens=past, source_tokens=source, image=image)


def _not_a_reference(path: Path) -> VerificationError:
    return VerificationError(f"{path} is not a reference file of edgeprof.", AGAIN)
