"""Values for inputs that have none: by the meaning of the input, else by the type of its numbers."""

from __future__ import annotations

from collections.abc import Mapping

from edgeprof.errors import UsageError
from edgeprof.inputs.roles import Input, Meaning, Signature
from edgeprof.inputs.sizes import Sizes
from edgeprof.schema import Fill, InputValue

FEWEST_ROWS = 2
"""Ids are drawn below this where the size of the table is unknown: 0 and 1 are in every vocabulary."""

BY_MEANING: Mapping[Meaning, Fill] = {
    "ids": "token_ids",
    "index": "token_ids",
    "mask": "ones",
    "positions": "positions",
    "kinds": "zeros",
    "past": "normal",
    "vectors": "normal",
    "pixels": "normal",
    "audio": "normal",
    "flag": "value",
    "length": "value",
}
INTEGERS = ("int2", "int4", "int8", "int16", "int32", "int64", "uint2", "uint4", "uint8", "uint16", "uint32", "uint64")

ALTERNATIVES: Mapping[str, tuple[Fill, ...]] = {
    "f": ("normal", "uniform", "ones"),
    "i": ("ones", "zeros", "token_ids"),
    "b": ("ones", "zeros"),
    "s": ("strings",),
}
"""By kind of number, for inputs of unknown meaning: the first one is used, the others where it gives no result."""


def fill(
    signature: Signature,
    sizes: Sizes,
    *,
    rows: Mapping[str, int] | None = None,
    given: Mapping[str, InputValue] | None = None,
    chosen: Mapping[str, Fill] | None = None,
    end: int | None = None,
) -> tuple[InputValue, ...]:
    """A value for every input.

    Args:
        rows: number of rows of the tables that inputs index, where a family knows it.
        given: values from files, by input name.
        chosen: fills that gave a result in a trial, for inputs of unknown meaning.
        end: the id that ends a sequence, where the model looks for it.

    Raises:
        UsageError: edgeprof cannot make values of an input's type.
    """
    given, chosen = given or {}, chosen or {}
    return tuple(
        given.get(one.name) or _value(one, sizes, (rows or {}).get(one.name, one.rows), chosen.get(one.name), end)
        for one in signature.inputs
    )


def kind_of_number(dtype: str) -> str:
    """ "f", "i", "b", "s"; "" for types that edgeprof cannot make values of."""
    if dtype == "bool":
        return "b"
    if dtype == "string":
        return "s"
    if dtype in INTEGERS:
        return "i"
    return "f" if "float" in dtype or "complex" in dtype else ""


def _value(one: Input, sizes: Sizes, rows: int | None, chosen: Fill | None, end: int | None) -> InputValue:
    kind = kind_of_number(one.spec.dtype)
    if not kind or one.spec.kind in ("map",):
        of = f"of type {one.spec.dtype}" if one.spec.kind == "tensor" else f"that is a {one.spec.kind}"
        raise UsageError(
            f"edgeprof cannot make values for input '{one.name}' {of}.", f"Give them: --input {one.name}=FILE.npy"
        )
    how = chosen or _by_rule(one, kind)
    return InputValue(
        name=one.name,
        dtype=one.spec.dtype,
        kind=one.spec.kind,
        shape=sizes.shapes[one.name],
        fill=how,
        start=_start(one, sizes, how),
        high=rows or FEWEST_ROWS,
        end=end if one.meaning == "ids" and how == "token_ids" else None,
        rows=(rows or 0) if how == "positions" else 0,
    )


def _by_rule(one: Input, kind: str) -> Fill:
    by_meaning = BY_MEANING.get(one.meaning)
    if one.meaning == "pixels" and kind == "i":
        return "token_ids"  # colours of 8 bits
    return by_meaning or ALTERNATIVES[kind][0]


def _start(one: Input, sizes: Sizes, how: Fill) -> int:
    """The number of a "value", or the first of "positions"."""
    if how == "positions":
        return sizes.past_tokens
    if how != "value":
        return 0
    if one.meaning == "flag":
        return int(sizes.past_tokens > 0)
    new, past, name = sizes.tokens or 1, sizes.past_tokens, one.name.lower()
    if "seqlens_k" in name:  # of GroupQueryAttention: the last valid index
        return past + new - 1
    if "total" in name:
        return past + new
    return past if "past" in name or "cache" in name else new
