"""Inputs for any ONNX graph: sizes for its dimensions and values for its tensors, from the names people give them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeprof.errors import UnknownName, UsageError
from edgeprof.measure import tensors
from edgeprof.schema import Fill, InputValue, TensorSpec
from edgeprof.store import sha256_of

USUAL_SYMBOLS = {
    "batch": {"batch_size", "batch", "batchsize", "bs", "b"},
    "tokens": {
        *("sequence_length", "seq_length", "seq_len", "seqlen", "sequence", "seq", "length"),
        *("tokens", "num_tokens", "token_length", "decoder_sequence_length", "encoder_sequence_length"),
        *("s", "t", "l", "n"),
    },
    "past": {
        *("past_sequence_length", "past_seq_length", "past_seq_len", "past_length", "past_len", "past"),
        *("past_tokens", "past_decoder_sequence_length"),
    },
    "total": {
        *("total_sequence_length", "total_seq_length", "total_seq_len", "total_length", "total_len", "total"),
        *("attention_mask_sequence_length", "mask_sequence_length"),
    },
}

# What the axes of inputs of these names mean, also where the file fixes their size; "" is nothing one can ask for.
USUAL_AXES = (
    (r"(decoder_)?input_ids|token_type_ids|segment_ids", ("batch", "tokens")),
    (r"attention_mask", ("batch", "total")),
    (r"position_ids", ("", "tokens")),  # batch may be 1: positions broadcast
    (r"pixel_values", ("batch", "", "height", "width")),
    (r"past_key_values\..*|past\..*", ("batch", "", "past", "")),
)


def bind(
    specs: Sequence[TensorSpec],
    *,
    batch: int,
    tokens: int | None,
    past_tokens: int = 0,
    vocabulary: int = 2,
    dims: Mapping[str, int] | None = None,
    files: Mapping[str, Path] | None = None,
) -> tuple[InputValue, ...]:
    """One value per input: its shape from what is asked, its fill from its name and dtype.

    Args:
        specs: the graph's inputs. A dynamic dimension without a name has the symbol "".
        tokens: tokens processed in one run; None where they are not asked for (images, sizes given by `dims`).
        vocabulary: token ids are drawn below it.
        dims: sizes by symbol, or by "<input>.<axis>" (`--dim`); they win over the usual names.
        files: .npy files by input name (`--input`); they also size dimensions that nothing else does.

    Raises:
        UsageError: a dimension has no size, is fixed at another one, or nothing in the graph takes what is asked;
            a file does not fit its input; a dtype cannot be made.
        UnknownName: `dims` or `files` name what the graph does not have.
    """
    dims, files = dims or {}, files or {}
    names = [spec.name for spec in specs]
    for name in files:
        if name not in names:
            raise UnknownName("model input", name, names)
    for name, size in dims.items():
        if size < 0:
            raise UsageError(f"Dimension '{name}' cannot be {size}.", "Give a size of 0 or more.")
    given = {spec.name: _file_value(spec, files[spec.name]) for spec in specs if spec.name in files}
    held = fixed_past(specs)
    if held and past_tokens != held:
        raise UsageError(
            f"The KV cache has a fixed size, of {held} tokens and the new one.",
            f"Ask for decode after {held} tokens: --phase decode --seq {held}",
        )
    asked = {"batch": batch, "past": held + 1 if held else past_tokens}
    if tokens is not None:
        asked |= {"tokens": tokens, "total": tokens + past_tokens}
    sizes = _Sizes({**asked, **dims})
    for spec in specs:
        if spec.name in given:
            sizes.check_file(spec, given[spec.name].shape)
    shapes = {spec.name: sizes.shape(spec) for spec in specs}
    _refuse_unused(specs, asked, dims, sizes.used)
    return tuple(given.get(spec.name) or _value(spec, shapes[spec.name], past_tokens, vocabulary) for spec in specs)


def token_length(values: Sequence[InputValue]) -> int | None:
    """The tokens one run processes, where `dims` or `files` told the sizes: the last axis of the first token ids."""
    ids = (value for value in values if value.fill in ("token_ids", "file") and "int" in value.dtype and value.shape)
    return next((value.shape[-1] for value in ids), None)


def fixed_past(specs: Sequence[TensorSpec]) -> int:
    """Tokens that a KV cache of fixed size holds before the new one, which has a slot too; 0: there is no such cache.

    Its mask tells which slots hold something, and is as long as the cache. Where a cache grows, a graph that fixes all
    sizes has a longer mask: by the new tokens.
    """
    sizes = {
        _role_of_axis(spec, axis): dim for spec in specs for axis, dim in enumerate(spec.dims) if isinstance(dim, int)
    }
    slots = sizes.get("past", 0)
    return slots - 1 if slots and slots == sizes.get("total") else 0


def takes_tokens(specs: Sequence[TensorSpec]) -> bool:
    """Whether the token length can be chosen: some dimension is dynamic and has a usual name for it."""
    roles = {
        _role_of_symbol(dim, axis) or _role_of_axis(spec, axis)
        for spec in specs
        for axis, dim in enumerate(spec.dims)
        if isinstance(dim, str)
    }
    return bool(roles & {"tokens", "total"})


class _Sizes:
    """Sizes by symbol, place ("<input>.<axis>") or role ("batch", "tokens", ...), and which of them were used."""

    def __init__(self, known: dict[str, int]) -> None:
        self.known = known
        self.used: set[str] = set()

    def shape(self, spec: TensorSpec) -> tuple[int, ...]:
        return tuple(self._size(spec, axis) for axis in range(len(spec.dims)))

    def check_file(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        """See that a file's shape is what is asked; sizes that nothing else tells are taken from it."""
        if len(shape) != len(spec.dims):
            raise _misfit(spec, shape)
        for axis, in_file in enumerate(shape):
            dim = spec.dims[axis]
            size = self._wanted(spec, axis) if isinstance(dim, str) else dim
            if size is None:
                self.known[_symbol(spec, axis)] = in_file
            elif size != in_file:
                raise _misfit(spec, shape)

    def _size(self, spec: TensorSpec, axis: int) -> int:
        dim, wanted = spec.dims[axis], self._wanted(spec, axis)
        if isinstance(dim, str):
            if wanted is not None:
                return wanted
            by_length = (_role_of_symbol(dim, axis) or _role_of_axis(spec, axis)) in ("tokens", "total")
            raise UsageError(
                f"The size of dimension {axis} of input '{spec.name}' {_text(spec.dims)} is not known.",
                "Give it: --seq 512" if by_length else f"Give it: --dim '{_symbol(spec, axis)}=SIZE'",
            )
        if wanted in (None, dim):
            return dim
        raise UsageError(
            f"Dimension {axis} of input '{spec.name}' {_text(spec.dims)} is fixed at {dim}, and {wanted} is asked for.",
            f"Ask for {dim}, or export the model with a dynamic dimension there.",
        )

    def _wanted(self, spec: TensorSpec, axis: int) -> int | None:
        dim, place = spec.dims[axis], _place(spec, axis)
        if isinstance(dim, int):
            return self._find(place, _role_of_axis(spec, axis))
        whole = self._find(place, dim, _role_of_symbol(dim, axis))
        if whole is not None or "+" not in dim:
            return whole
        total = 0
        for term in dim.replace(" ", "").split("+"):
            size = int(term) if term.isdecimal() else self._find(term, _role_of_symbol(term, axis))
            if size is None:
                return None
            total += size
        return total

    def _find(self, *names: str) -> int | None:
        for name in names:
            if name in self.known:
                self.used.add(name)
                return self.known[name]
        return None


def _refuse_unused(specs: Sequence[TensorSpec], asked: dict[str, int], dims: Mapping[str, int], used: set[str]) -> None:
    """Nothing that is asked for may be dropped in silence: the record would tell of a run that was not made."""
    there = dict.fromkeys(_symbol(spec, axis) for spec in specs for axis in range(len(spec.dims)))
    for name in dims:
        if name not in used:
            raise UnknownName("model dimension", name, there)
    if asked["past"] and "past" not in used and asked["past"] not in dims.values():
        raise UsageError("The model takes no KV cache, so it cannot decode.", "Ask for --phase prefill.")
    for role, takers in (("batch", {"batch"}), ("tokens", {"tokens", "total"})):
        neutral = role == "batch" and asked[role] == 1
        if role in asked and not neutral and not takers & used and asked[role] not in dims.values():
            raise UsageError(
                f"No dimension of the model's inputs has a usual name for {role}.",
                f"Give its size with --dim NAME={asked[role]}; the dimensions are: {', '.join(there)}.",
            )


def _place(spec: TensorSpec, axis: int) -> str:
    return f"{spec.name}.{axis}"


def _symbol(spec: TensorSpec, axis: int) -> str:
    """What a dimension is called: its symbol, or its place where it has none."""
    dim = spec.dims[axis]
    return dim if isinstance(dim, str) and dim else _place(spec, axis)


def _misfit(spec: TensorSpec, shape: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"The file for input '{spec.name}' {_text(spec.dims)} holds an array of shape {list(shape)}.",
        "Save an array of the shape that is asked for.",
    )


def _role_of_symbol(symbol: str, axis: int) -> str:
    symbol = symbol.lower()
    if symbol == "n" and axis == 0:  # the N of NCHW
        return "batch"
    return next((role for role, names in USUAL_SYMBOLS.items() if symbol in names), "")


def _role_of_axis(spec: TensorSpec, axis: int) -> str:
    for pattern, roles in USUAL_AXES:
        if re.fullmatch(pattern, spec.name) and len(roles) == len(spec.dims):
            return roles[axis]
    return ""


def _value(spec: TensorSpec, shape: tuple[int, ...], past_tokens: int, vocabulary: int) -> InputValue:
    fill = _fill(spec)
    return InputValue(
        name=spec.name,
        dtype=spec.dtype,
        shape=shape,
        fill=fill,
        start=past_tokens if fill == "positions" else 0,
        high=vocabulary if fill == "token_ids" else 2,
    )


def _fill(spec: TensorSpec) -> Fill:
    name = spec.name.lower()
    if spec.dtype == "bool" or "mask" in name:
        return "ones"
    if spec.dtype in ("float16", "float32", "float64"):
        return "normal"
    if re.fullmatch(r"u?int(8|16|32|64)", spec.dtype):
        if "position" in name:
            return "positions"
        if re.search(r"token_?type|segment", name):
            return "zeros"
        return "token_ids" if re.search(r"ids?$|token", name) else "zeros"
    raise UsageError(
        f"edgeprof cannot make values of type {spec.dtype} for input '{spec.name}'.",
        f"Give them: --input {spec.name}=<file>.npy",
    )


def _file_value(spec: TensorSpec, file: Path) -> InputValue:
    array = tensors.load(str(file), mapped=True)
    if array.dtype.name != spec.dtype:
        raise UsageError(
            f"{file} holds {tensors.describe(array)}, and input '{spec.name}' takes {spec.dtype}.",
            f"Convert it: numpy.save(file, array.astype('{spec.dtype}'))",
        )
    return InputValue(
        name=spec.name,
        dtype=spec.dtype,
        shape=array.shape,
        fill="file",
        file=str(file.absolute()),
        sha256=sha256_of(file),
    )


def _text(dims: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(str(dim) or "?" for dim in dims) + "]"
