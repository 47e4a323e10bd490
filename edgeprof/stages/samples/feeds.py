"""Feeds: a value for every input of a model, completed from those of a sample and checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof import symbols
from edgeprof.errors import UnknownSizes, UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.families.base import Arrays
from edgeprof.inputs import Input, LoadRequest, Meaning, Signature, fill, resolve, tensors
from edgeprof.schema import Artifact, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLLOWING: tuple[Meaning, ...] = ("mask", "kinds", "positions", "past", "flag", "length")
"""Meanings of inputs that follow from token ids: nothing is padded, and nothing is cached."""


def token_ids(signature: Signature) -> Input | None:
    """The input for token ids, if there is one: by its meaning, else the first one of integers."""
    integers = [one for one in signature.inputs if "int" in one.spec.dtype and one.meaning in ("ids", "index", "other")]
    return min(integers, key=lambda one: (one.name != "input_ids", one.meaning != "ids"), default=None)


def required(signature: Signature) -> list[TensorSpec]:
    """The inputs that a sample must hold: those that do not follow from token ids."""
    follow = token_ids(signature) is not None
    return [one.spec for one in signature.inputs if not (follow and one.meaning in FOLLOWING and not _crosses(one))]


def _crosses(one: Input) -> bool:
    """Whether an input holds what an encoder computed."""
    return one.meaning == "past" and "source" in one.axes


def token_length(signature: Signature, feeds: Arrays) -> int | None:
    """How many tokens a sample has, as ids or as vectors; None where it has none (an image)."""
    ids = token_ids(signature)
    first = feeds[ids.name if ids else signature.inputs[0].name]
    return first.shape[1] if first.ndim == (2 if ids else 3) else None


def table_rows(artifact: Artifact, signature: Signature) -> dict[str, int]:
    """Inputs that index a table, and how many rows it has, as far as that is known."""
    variant = traced_variant(artifact)
    if variant is not None:
        return family_of(variant).table_rows(variant)
    return {one.name: one.rows for one in signature.inputs if one.rows is not None}


# --- completed -------------------------------------------------------------------------------------------------


def complete(signature: Signature, sample: Arrays, where: str) -> Arrays:
    """All inputs of a sample, in the order of the model.

    Args:
        where: what the sample is called in messages.

    Raises:
        UsageError: an input is missing and does not follow from token ids, has another dtype or number of dimensions
            than the model's, or is no input of the model.
    """
    specs = {spec.name: spec for spec in signature.specs}
    for name, array in sample.items():
        if name not in specs:
            raise UsageError(
                f"{where} has '{name}', which is not an input of the model.", f"Its inputs: {', '.join(specs)}."
            )
        _check_kind(specs[name], array, where)
    for spec in required(signature):
        if spec.name not in sample:
            raise UsageError(f"{where} lacks input '{spec.name}'.", f"The inputs of the model: {', '.join(specs)}.")
    following = {} if len(sample) == len(specs) else _following(signature, sample, where)
    return {name: sample[name] if name in sample else following[name] for name in specs}


def _following(signature: Signature, sample: Arrays, where: str) -> Arrays:
    """Values of the other inputs, in the sizes of token ids and KV cache; an empty cache unless the sample has one."""
    sizing = {spec.name for spec in required(signature)} | {one.name for one in signature.past}
    shapes = {name: array.shape for name, array in sample.items() if name in sizing}
    load = LoadRequest(phase="decode" if signature.no_prefill else "prefill")
    try:
        values = fill(
            signature, resolve(signature, load, arrays=shapes), chosen={one.name: "zeros" for one in signature.past}
        )
    except UnknownSizes as problem:
        raise UsageError(f"{where}: {problem.what}", "Add those inputs to the sample.") from problem
    except UsageError as problem:
        raise problem.about(where)  # noqa: B904  (the same error)
    return {value.name: tensors.make_array(value) for value in values if value.name not in sample}


# --- checked ---------------------------------------------------------------------------------------------------


def check(artifact: Artifact, signature: Signature, feeds: Arrays, where: str) -> None:
    """See that a model can be run on a completed sample.

    Raises:
        UsageError: an input has another shape than the model's, is not finite, or indexes beyond a table.
    """
    known, rows = sizes(signature.specs, feeds), table_rows(artifact, signature)
    for one in signature.inputs:
        array = feeds[one.name]
        _check_shape(one, array, known, where)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{where} has NaN or infinity in input '{one.name}'.", "Pass finite numbers only.")
        if array.dtype.kind in "iu" and array.size:
            _check_range(one.spec, array, rows.get(one.name), where)
    _check_length(artifact, signature, feeds, where)
    _check_patches(artifact, feeds, where)


def _check_kind(spec: TensorSpec, array: NDArray[Any], where: str) -> None:
    if spec.kind == "sequence":
        raise UsageError(
            f"Input '{spec.name}' is a sequence, which no sample can hold.",
            "Use a recipe without calibration: int8, int4, fp16 or bf16.",
        )
    if array.dtype.name != spec.dtype or array.ndim != len(spec.dims):
        raise UsageError(
            f"{where} has {_text(array.dtype.name, array.shape)} for input '{spec.name}', "
            f"but the model takes {_text(spec.dtype, spec.dims)}.",
            f"Convert it: array.astype('{spec.dtype}')"
            if array.ndim == len(spec.dims)
            else f"Pass an array with {len(spec.dims)} dimensions.",
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


def _check_shape(one: Input, array: NDArray[Any], sizes: dict[str, int], where: str) -> None:
    for dim, size in zip(one.spec.dims, array.shape, strict=True):
        expected = expected_size(dim, sizes)
        if expected not in (None, size):
            raise UsageError(
                f"{where} has shape {list(array.shape)} for input '{one.name}', "
                f"but {_dims(one.spec.dims)} requires {expected} in place of {size}.",
                "Pass arrays whose sizes agree.",
            )
        if size == 0 and one.meaning != "past":
            raise UsageError(f"{where} is empty: input '{one.name}' has shape {list(array.shape)}.", "Omit it.")


def _check_range(spec: TensorSpec, array: NDArray[Any], rows: int | None, where: str) -> None:
    low, high = int(array.min()), int(array.max())
    if rows is not None and (low < 0 or high >= rows):
        raise UsageError(
            f"{where} has {low if low < 0 else high} in input '{spec.name}', outside the model's 0 to {rows - 1}.",
            "Use ids of the tokenizer that belongs to the model.",
        )


def _check_length(artifact: Artifact, signature: Signature, feeds: Arrays, where: str) -> None:
    ids, most = token_ids(signature), artifact.max_tokens
    if ids is None or most is None:
        return
    mask = next((one.name for one in signature.inputs if one.meaning == "mask"), ids.name)
    tokens = feeds[mask].shape[1]
    if tokens > most:
        raise UsageError(f"{where} has {tokens} tokens, but the model takes at most {most}.", "Pass shorter samples.")


def _check_patches(artifact: Artifact, feeds: Arrays, where: str) -> None:
    pixels, variant = feeds.get("pixel_values"), artifact.variant
    if pixels is None or variant is None:
        return
    patch = family_of(variant).summary(variant).patch
    if patch and (pixels.shape[2] % patch or pixels.shape[3] % patch):
        raise UsageError(
            f"{where} has an image of {pixels.shape[2]} x {pixels.shape[3]}, which is not whole patches of {patch}.",
            f"Use multiples of {patch}.",
        )


def _text(dtype: str, dims: Sequence[int | str]) -> str:
    return f"{dtype} {_dims(dims)}"


def _dims(dims: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(dim) or "?" for dim in dims) + "]"
