"""Feeds: a value for every input of a model, from those that are given; and a look at them before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof import symbols
from edgeprof.errors import UsageError
from edgeprof.families import family_of
from edgeprof.families.base import Arrays
from edgeprof.inputs import signature
from edgeprof.kv_cache import RANK, TOKENS, is_past
from edgeprof.schema import Artifact, TensorSpec
from edgeprof.stages import graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLLOWERS = ("attention_mask", "token_type_ids", "position_ids")
"""Inputs that are known once the token ids are, as a KV cache is: nothing is padded, and nothing came before."""


def token_ids(specs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The input that takes token ids, if there is one."""
    integers = [spec for spec in specs if "int" in spec.dtype and not _follows(spec)]
    return min(integers, key=lambda spec: spec.name != "input_ids", default=None)


def _follows(spec: TensorSpec) -> bool:
    return spec.name in FOLLOWERS or is_past(spec.name)


def required(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The inputs that do not follow from others."""
    follow = token_ids(specs) is not None
    return [spec for spec in specs if not (follow and _follows(spec))]


def token_length(specs: Sequence[TensorSpec], feeds: Arrays) -> int | None:
    """How many tokens a sample has: ids, or vectors; None where it has none (an image)."""
    ids = token_ids(specs)
    first = feeds[ids.name if ids else specs[0].name]
    return first.shape[1] if first.ndim == (2 if ids else 3) else None


# --- completed -------------------------------------------------------------------------------------------------


def complete(specs: Sequence[TensorSpec], given: Arrays, where: str) -> Arrays:
    """All inputs of a sample, in the order of the model.

    Raises:
        UsageError: one is not given and does not follow from the token ids, or one is given that the model lacks.
    """
    names = [spec.name for spec in specs]
    for name in given:
        if name not in names:
            raise UsageError(f"{where} has '{name}', which is no input of the model.", f"It takes {', '.join(names)}.")
    for spec in required(specs):
        if spec.name not in given:
            raise UsageError(f"{where} lacks input '{spec.name}'.", f"The model takes {', '.join(names)}.")
    return {spec.name: given[spec.name] if spec.name in given else _following(spec, specs, given) for spec in specs}


def _following(spec: TensorSpec, specs: Sequence[TensorSpec], given: Arrays) -> NDArray[Any]:
    taker = token_ids(specs)
    assert taker is not None
    ids = given[taker.name]
    batch, tokens = ids.shape if ids.ndim == 2 else (1, ids.size)  # of another rank: refused by `check`
    past = next((array.shape[TOKENS - RANK] for name, array in given.items() if is_past(name) and array.ndim > 2), 0)
    match spec.name:
        case "attention_mask":
            return np.ones((batch, past + tokens), spec.dtype)
        case "token_type_ids":
            return np.zeros((batch, tokens), spec.dtype)
        case "position_ids":
            return np.tile(np.arange(past, past + tokens, dtype=spec.dtype), (batch, 1))
        case _:
            return np.zeros(_empty(spec, taker, (batch, tokens)), spec.dtype)


def _empty(cache: TensorSpec, ids: TensorSpec, shape: tuple[int, int]) -> list[int]:
    """A KV cache of no tokens: what is dynamic in it is the batch, or the length that is 0."""
    known = {dim: size for dim, size in zip(ids.dims, shape, strict=False) if isinstance(dim, str) and dim}
    sizes = [dim if isinstance(dim, int) else known.get(dim, 0) for dim in cache.dims]
    return [shape[0] if axis == 0 and isinstance(cache.dims[0], str) else size for axis, size in enumerate(sizes)]


# --- checked ---------------------------------------------------------------------------------------------------


def check(artifact: Artifact, feeds: Arrays, limits: dict[str, int], where: str) -> None:
    """See that the model can be run on a sample; `limits` are those of `rows`.

    Raises:
        UsageError: an input has another dtype or shape than the model's, is not finite, or indexes beyond a table.
    """
    for spec in artifact.inputs:
        _check_kind(spec, feeds[spec.name], where)
    known = sizes(artifact.inputs, feeds)
    for spec in artifact.inputs:
        array = feeds[spec.name]
        _check_shape(spec, array, known, where)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{where} has NaN or infinity in input '{spec.name}'.", "Give numbers only.")
        if array.dtype.kind in "iu" and array.size:
            _check_range(spec, array, limits.get(spec.name), where)
    _check_length(artifact, feeds, where)
    _check_patches(artifact, feeds, where)


def rows(artifact: Artifact) -> dict[str, int]:
    """Inputs that index a table, and how many rows it has; as far as that is known."""
    ids, variant = token_ids(artifact.inputs), artifact.variant
    if ids is None:
        return {}
    if variant is None:
        return _rows_in_graph(artifact)
    return family_of(variant).table_rows(variant)


def _rows_in_graph(artifact: Artifact) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in graph.load(Path(artifact.path)).graph.inputs:
        tables = [node.inputs[0] for node in value.consumers() if node.op_type == "Gather" and node.inputs[1] is value]
        sizes = [table.const_value.shape[0] for table in tables if table is not None and table.const_value is not None]
        if sizes:
            found[value.name or ""] = min(int(size) for size in sizes)  # type: ignore[arg-type]
    return found


def _check_kind(spec: TensorSpec, array: NDArray[Any], where: str) -> None:
    if spec.kind == "sequence":
        raise UsageError(
            f"Input '{spec.name}' is a sequence, which no sample can hold.",
            "Take a recipe that needs none: int8, int4, fp16 or bf16.",
        )
    if array.dtype.name != spec.dtype or array.ndim != len(spec.dims):
        raise UsageError(
            f"{where} has {_text(array.dtype.name, array.shape)} for input '{spec.name}', "
            f"and the model takes {_text(spec.dtype, spec.dims)}.",
            f"Convert it: array.astype('{spec.dtype}')" if array.ndim == len(spec.dims) else "Give that many axes.",
        )


def sizes(specs: Sequence[TensorSpec], feeds: Arrays) -> dict[str, int]:
    """The size of every symbol, from the first input that has it."""
    found: dict[str, int] = {}
    for spec in specs:
        shape = feeds[spec.name].shape[spec.kind == "sequence" :]  # its tensors are stacked
        for dim, size in zip(spec.dims, shape, strict=True):
            if isinstance(dim, str) and symbols.names_in(dim) == [dim]:
                found.setdefault(dim, size)
    return found


def expected_size(dim: int | str, sizes: dict[str, int]) -> int | None:
    """Size of a dimension: of a symbol from `sizes`, of an expression ("past + 1") computed. None: any size fits."""
    if isinstance(dim, int):
        return dim if dim >= 0 else None
    return sizes[dim] if dim in sizes else symbols.evaluate(dim, sizes.get)


def _check_shape(spec: TensorSpec, array: NDArray[Any], sizes: dict[str, int], where: str) -> None:
    for dim, size in zip(spec.dims, array.shape, strict=True):
        wanted = expected_size(dim, sizes)
        if wanted not in (None, size):
            raise UsageError(
                f"{where} has shape {list(array.shape)} for input '{spec.name}', "
                f"where {_dims(spec.dims)} asks for {wanted} in place of {size}.",
                "Give arrays whose sizes go together.",
            )
        if size == 0 and not signature([spec]).caches:
            raise UsageError(f"{where} is empty: input '{spec.name}' has shape {list(array.shape)}.", "Leave it out.")


def _check_range(spec: TensorSpec, array: NDArray[Any], limit: int | None, where: str) -> None:
    low, high = int(array.min()), int(array.max())
    if limit is not None and (low < 0 or high >= limit):
        raise UsageError(
            f"{where} has {low if low < 0 else high} in input '{spec.name}', outside the model's 0 to {limit - 1}.",
            "Give ids of the tokenizer that belongs to the model.",
        )


def _check_length(artifact: Artifact, feeds: Arrays, where: str) -> None:
    ids, most = token_ids(artifact.inputs), artifact.variant.max_tokens if artifact.variant else None
    if ids is None or most is None:
        return
    tokens = feeds["attention_mask"].shape[1] if "attention_mask" in feeds else feeds[ids.name].shape[1]
    if tokens > most:
        raise UsageError(f"{where} has {tokens} tokens, and the model takes at most {most}.", "Give shorter samples.")


def _check_patches(artifact: Artifact, feeds: Arrays, where: str) -> None:
    pixels, variant = feeds.get("pixel_values"), artifact.variant
    if pixels is None or variant is None:
        return
    patch = family_of(variant).summary(variant).patch
    if patch and (pixels.shape[2] % patch or pixels.shape[3] % patch):
        raise UsageError(
            f"{where} has an image of {pixels.shape[2]} x {pixels.shape[3]}, which is not whole patches of {patch}.",
            f"Give multiples of {patch}.",
        )


def _text(dtype: str, dims: Sequence[int | str]) -> str:
    return f"{dtype} {_dims(dims)}"


def _dims(dims: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(dim) or "?" for dim in dims) + "]"
