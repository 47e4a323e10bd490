"""Sizes for all axes of a graph's inputs: from the request, the file, and the symbols that axes share.

A size by name (`--dim`) comes first, then the array of an input (`--input`), then a size that the file fixes, then the
meaning of the axis (`--seq`, `--batch`), then the same symbol elsewhere, or an expression of such symbols. Axes without
a size are not guessed: one error lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from edgeprof.errors import UnknownName, UnknownSizes, UsageError
from edgeprof.inputs.roles import Axis, Input, Signature
from edgeprof.inputs.tensors import dtype_of
from edgeprof.kv_cache import length_after
from edgeprof.schema import Phase, Record, TensorSpec
from edgeprof.symbols import evaluate, meaning, names_in

BY_LENGTH: tuple[Axis, ...] = ("tokens", "past", "total", "source", "frames")
"""Axes that a token length sizes."""

HEIGHT_AND_WIDTH: tuple[Axis, ...] = ("height", "width")

SUGGESTED: Mapping[Axis, int] = {"batch": 1, "height": 224, "width": 224, "channels": 3}
SUGGESTED_OTHERWISE = 16


class LoadRequest(Record, frozen=True, kw_only=True):
    """The requested phase and sizes; None leaves a size to the file."""

    phase: Phase = "prefill"
    batch: int | None = None
    length: int | None = None  # new tokens in prefill, cached tokens in decode


class Sizes(Record, frozen=True, kw_only=True):
    """The shape of every input by name, and the batch and tokens that follow from it."""

    shapes: dict[str, tuple[int, ...]]
    phase: Phase
    batch: int
    tokens: int | None  # processed in one run; None: no input axis counts tokens
    past_tokens: int = 0
    source_tokens: int | None = None  # of an encoder, beside those of its decoder; None: no axis counts them
    frames: int | None = None  # of audio, where they can be chosen; the length where no axis counts tokens


def resolve(
    signature: Signature,
    load: LoadRequest,
    *,
    dims: Mapping[str, int] | None = None,
    arrays: Mapping[str, tuple[int, ...]] | None = None,
    usual: Mapping[Axis, int] | None = None,
) -> Sizes:
    """Find the shape of every input.

    Args:
        dims: sizes by symbol, or by "<input>.<axis>" (`--dim`).
        arrays: shapes of the arrays for inputs (`--input`).
        usual: sizes by meaning, of axes that nothing else sizes: those of the images that a model was trained on.

    Raises:
        UnknownSizes: some axes have no size; lists all of them.
        UnknownName: no input has a name of `dims`.
        UsageError: the request contradicts the file or itself, or no input uses it.
    """
    return _Resolver(signature, load, dims or {}, arrays or {}, usual or {}).sizes()


def cache_bytes(signature: Signature, sizes: Sizes) -> int:
    """Bytes of the KV cache after a run: those of the next run's inputs."""
    total = 0
    for one in signature.past:
        shape = [
            length_after(size, sizes.tokens or 0, signature.kind_of(one)) if role in ("past", "source") else size
            for size, role in zip(sizes.shapes[one.name], one.axes, strict=True)
        ]
        total += prod(shape) * int(dtype_of(one.spec.dtype).itemsize)
    return total


class _Resolver:
    def __init__(
        self,
        signature: Signature,
        load: LoadRequest,
        dims: Mapping[str, int],
        arrays: Mapping[str, tuple[int, ...]],
        usual: Mapping[Axis, int],
    ) -> None:
        self.signature, self.load, self.dims, self.arrays, self.usual = signature, load, dims, arrays, usual
        self.used: set[str] = set()
        self.symbols: dict[str, int] = {}
        self.meant = {  # symbols of axes whose meaning follows from the name of their input
            dim
            for one in signature.inputs
            if one.known
            for dim, role in zip(one.spec.dims, one.axes, strict=True)
            if role and dim and isinstance(dim, str)
        }
        self._check_request()
        self.given = {
            (one.name, axis): size
            for one in signature.inputs
            for axis in range(len(one.spec.dims))
            if (size := self._given(one.spec, axis)) is not None
        }
        self.roles = self._role_sizes()

    def sizes(self) -> Sizes:
        for one in sorted(
            self.signature.inputs, key=lambda one: not one.known
        ):  # a known meaning is more reliable than a symbol
            for axis, dim in enumerate(one.spec.dims):
                if isinstance(dim, str) and dim and (size := self._by_itself(one, axis)) is not None:
                    self.symbols.setdefault(dim, size)
        shapes, unknown = {}, []
        for one in self.signature.inputs:
            found = [self._size(one, axis) for axis in range(len(one.spec.dims))]
            unknown += [(one, axis) for axis, size in enumerate(found) if size is None]
            shapes[one.name] = tuple(size or 0 for size in found)
        if unknown:
            raise self._unknown(unknown)
        self._refuse_unused()
        return Sizes(
            shapes=shapes,
            phase=self.load.phase,
            batch=self._batch(shapes),
            tokens=self._tokens(shapes),
            past_tokens=self.roles.get("past", 0) - bool(self.signature.slots),
            source_tokens=self._seen(shapes, "source") if self.signature.axes_of("tokens") else None,
            frames=self.roles.get("frames") if self._chosen("frames") else None,
        )

    # --- the request -----------------------------------------------------------------------------------

    def _check_request(self) -> None:
        signature, load = self.signature, self.load
        for name, size in self.dims.items():
            if size < 0:
                raise UsageError(f"Dimension '{name}' cannot be {size}.", "Give a size of 0 or more.")
        if load.phase == "decode" and signature.no_decode:
            raise UsageError(f"The model {signature.no_decode}, so it cannot decode.", "Use --phase prefill.")
        if load.phase == "prefill" and signature.no_prefill:
            raise UsageError(f"The model {signature.no_prefill}.", "Use --phase decode.")

    def _given(self, spec: TensorSpec, axis: int) -> int | None:
        """The size of one axis by --dim, an array or the file; None where none of them has it."""
        dim, place = spec.dims[axis], _place(spec, axis)
        size = next((self._read(name) for name in (place, dim) if isinstance(name, str) and name in self.dims), None)
        if size is None and isinstance(dim, str):
            size = evaluate(dim, lambda name: self._read(name) if name in self.dims else None)
        if isinstance(dim, int):
            if size not in (None, dim):
                raise self._fixed(spec, axis, size)
            size = dim
        if spec.name in self.arrays and spec.kind == "tensor":
            shape = self.arrays[spec.name]
            if len(shape) != len(spec.dims) or size not in (None, shape[axis]):
                raise misfit(spec, shape)
            size = shape[axis]
        return size

    def _read(self, name: str) -> int:
        self.used.add(name)
        return self.dims[name]

    # --- roles -------------------------------------------------------------------------------------------

    def _role_sizes(self) -> dict[Axis, int]:
        """The size of each role. A size that the file fixes is used, unless the request has a different one."""
        load, stated = self.load, self._stated()
        decode, slots = load.phase == "decode", self.signature.slots
        sizes: dict[Axis, int] = {
            role: size for role in HEIGHT_AND_WIDTH if (size := stated.get(role, self.usual.get(role))) is not None
        }
        batch = self._agreed("batch", load.batch, stated.get("batch"), 1)
        sizes["batch"] = 1 if batch is None else batch
        if self.signature.caches:
            held = None if load.length is None or not decode else load.length + bool(slots)
            full = None if self.signature.room is None else self.signature.room - 1
            past = self._agreed("past", held, stated.get("past"), full if decode else 0)
        else:
            past = 0
        total = stated.get("total")
        if decode and past is None and total is not None:
            past = total - stated.get("tokens", 1)
        wanted = 1 if decode else load.length
        tokens = self._agreed("tokens", wanted, stated.get("tokens"), None)
        if tokens is None and total is not None and past is not None:
            tokens = total - past
        self._require_room(past or 0, tokens or 0)
        if past is not None and self.signature.caches:
            sizes["past"] = past
        if tokens is not None:
            sizes["tokens"] = tokens
            if past is not None:
                sizes["total"] = self._agreed("total", past if slots else past + tokens, total, None) or 0
        elif total is not None:
            sizes["total"] = total
        counts_frames = not self.signature.axes_of("tokens", "past", "total")
        for role in ("source", "frames"):
            length = load.length if role == "frames" and counts_frames else None
            size = self._agreed(role, length, stated.get(role), self.usual.get(role, load.length or tokens))
            if size is not None:
                sizes[role] = size
        return sizes

    def _require_room(self, past: int, tokens: int) -> None:
        room, decode = self.signature.room, self.load.phase == "decode"
        if room is not None and past + tokens > room:
            raise UsageError(
                f"The KV cache has room for {room:,} tokens, but {past + tokens:,} are requested.",
                f"Use at most --seq {room - decode}.",
            )

    def _stated(self) -> dict[Axis, int]:
        """The size of each role by --dim, arrays and the file; the first of several."""
        found: dict[Axis, int] = {}
        for one in self.signature.inputs:
            for axis, role in enumerate(one.axes):
                size = self.given.get((one.name, axis))
                broadcast = role == "batch" and one.meaning == "positions" and size == 1
                if role and size is not None and not broadcast:
                    found.setdefault(role, size)
        return found

    def _agreed(self, role: Axis, requested: int | None, stated: int | None, otherwise: int | None) -> int | None:
        """The requested size or the stated one.

        Raises:
            UsageError: there are both, and they differ.
        """
        if requested is None:
            return otherwise if stated is None else stated
        if stated is not None and stated != requested:
            raise self._contradicted(role, requested, stated)
        return requested

    def _contradicted(self, role: Axis, requested: int, stated: int) -> UsageError:
        for one, axis, dim in self.signature.axes_of(role):
            if self.given.get((one.name, axis)) != stated:
                continue
            if isinstance(dim, int):
                return self._fixed(one.spec, axis, requested)
            if one.name in self.arrays:
                return misfit(one.spec, self.arrays[one.name])
            option = "--batch" if role == "batch" else "--seq"
            return UsageError(
                f"--dim makes axis {axis} of input '{one.name}' {stated}, but {option} {requested} is given.",
                f"Leave {option} out.",
            )
        return UsageError(f"{requested} is requested, but the file has {stated}.", f"Request {stated}.")

    def _fixed(self, spec: TensorSpec, axis: int, requested: int | None) -> UsageError:
        role = next((one.axes[axis] for one in self.signature.inputs if one.name == spec.name), "")
        if self.signature.slots and role == "past":
            held = self.signature.slots - 1
            return UsageError(
                f"The KV cache has a fixed size: {held:,} tokens and the new one.",
                f"Decode after {held} tokens: --phase decode --seq {held}",
            )
        dim = spec.dims[axis]
        return UsageError(
            f"Axis {axis} of input '{spec.name}' {text(spec.dims)} is fixed at {dim}, but {requested} is requested.",
            f"Request {dim}, or export the model with a dynamic axis there.",
        )

    # --- one axis ----------------------------------------------------------------------------------------

    def _by_itself(self, one: Input, axis: int) -> int | None:
        """The size of an axis from its own statement or its meaning."""
        stated, dim = self.given.get((one.name, axis)), one.spec.dims[axis]
        if stated is not None:
            return stated
        if not one.known and dim in self.meant:
            return self.symbols.get(str(dim))
        return one.channels if one.axes[axis] == "channels" else self.roles.get(one.axes[axis])

    def _size(self, one: Input, axis: int) -> int | None:
        dim = one.spec.dims[axis]
        if one.spec.kind != "tensor":
            return dim if isinstance(dim, int) else self._of_symbol(dim, axis) or 1
        size = self._by_itself(one, axis)
        if size is not None:
            return size
        if isinstance(dim, str) and dim and (size := self._of_symbol(dim, axis)) is not None:
            return size
        return self.roles["batch"] if axis == 0 and not one.axes[axis] and one.meaning != "past" else None

    def _of_symbol(self, symbol: str, axis: int) -> int | None:
        """The size of a symbol: from another axis, from its meaning, or by evaluating an expression."""
        if symbol in self.symbols or symbol in self.meant:
            return self.symbols.get(symbol)
        if symbol in self.dims:
            return self._read(symbol)
        role = meaning(symbol, axis) if names_in(symbol) == [symbol] else ""
        if role:
            return self.roles.get(role)
        if symbol in names_in(symbol):
            return None
        return evaluate(symbol, lambda name: self._of_symbol(name, axis))

    def _unknown(self, axes: Sequence[tuple[Input, int]]) -> UnknownSizes:
        """All axes without a size, and the options that would size them; one for all that a length sizes."""
        by_length = {
            str(one.spec.dims[axis]) or _place(one.spec, axis)
            for one, axis in axes
            if self.load.length is None and self._sized_by_length(self._role(one, axis))
        }
        sizes: dict[str, int] = {}
        for one, axis in axes:
            dim = str(one.spec.dims[axis])
            if (dim or _place(one.spec, axis)) in by_length:
                continue
            unsized = [name for name in names_in(dim) if self._of_symbol(name, axis) is None]
            for name in unsized or [_place(one.spec, axis)]:
                sizes.setdefault(name, SUGGESTED.get(self._role(one, axis), SUGGESTED_OTHERWISE))
        length = min(512, (self.signature.room or 513) - 1)
        options = [("--seq", str(length))] if by_length else []
        options += [("--dim", f"{name}={size}") for name, size in sizes.items()]
        named = "; ".join(f"axis {axis} of input '{one.name}' {text(one.spec.dims)}" for one, axis in axes)
        which = "The size of this axis is" if len(axes) == 1 else f"The sizes of {len(axes)} axes are"
        return UnknownSizes(f"{which} not known: {named}.", tuple(options))

    def _sized_by_length(self, role: Axis) -> bool:
        """Whether `--seq` sizes a role; past tokens only where there is a cache."""
        return role in BY_LENGTH and (role != "past" or self.signature.caches)

    def _role(self, one: Input, axis: int) -> Axis:
        dim = str(one.spec.dims[axis])
        return one.axes[axis] or ("" if dim in self.meant else meaning(dim, axis))

    # --- the result ---------------------------------------------------------------------------------

    def _seen(self, shapes: Mapping[str, tuple[int, ...]], *roles: Axis) -> int | None:
        """The size of the first axis of a role, in order of the roles."""
        found = [
            (roles.index(role), shapes[one.name][axis])
            for one in self.signature.inputs
            for axis, role in enumerate(one.axes)
            if role in roles and not (role == "batch" and one.meaning == "positions" and len(self.signature.inputs) > 1)
        ]
        return min(found)[1] if found and len(roles) > 1 else next((size for _, size in found), None)

    def _chosen(self, role: Axis) -> bool:
        return any(isinstance(dim, str) for _, _, dim in self.signature.axes_of(role))

    def _batch(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Of an axis that counts it; where none is known to, of the first leading one that is dynamic."""
        batch = self._seen(shapes, "batch")
        leading = (shapes[one.name][0] for one, axis, _ in self._unread() if axis == 0)
        return next(leading, 1) if batch is None else batch

    def _tokens(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        tokens = self._seen(shapes, "tokens")
        if tokens is None and self.signature.axes_of("total"):
            tokens = self.roles.get("tokens")
        return self._seen(shapes, "source") if tokens is None else tokens

    def _refuse_unused(self) -> None:
        """Nothing that is asked for may be dropped in silence: the record would tell of a run that was not made."""
        there = dict.fromkeys(
            name
            for one in self.signature.inputs
            for axis, dim in enumerate(one.spec.dims)
            if isinstance(dim, str)
            for name in names_in(dim) or [_place(one.spec, axis)]
        )
        for name in self.dims:
            if name not in self.used:
                raise UnknownName("axis of the model's inputs", name, there)
        symbols = {meaning(dim, axis) for _, axis, dim in self._unread()}
        counted = self.signature.axes_of(*BY_LENGTH) or symbols & set(BY_LENGTH) or self.signature.past
        if self.load.length is not None and not counted:
            raise self._unsized("--seq", "a token length", there)
        if (self.load.batch or 1) != 1 and not self.signature.axes_of("batch") and "batch" not in symbols:
            if any(axis == 0 for _, axis, _ in self._unread()):
                return  # a leading axis that is called otherwise
            raise self._unsized("--batch", "a batch size", there)

    def _unread(self) -> list[tuple[Input, int, str]]:
        """Dynamic axes whose input's meaning does not tell what they count."""
        return [
            (one, axis, dim)
            for one in self.signature.inputs
            for axis, dim in enumerate(one.spec.dims)
            if isinstance(dim, str) and not one.axes[axis]
        ]

    def _unsized(self, option: str, what: str, there: Mapping[str, None]) -> UsageError:
        sizes = f", or size an axis with --dim: {', '.join(there)}" if there else ""
        return UsageError(f"No axis of the model's inputs is known to be {what}.", f"Leave {option} out{sizes}.")


def _place(spec: TensorSpec, axis: int) -> str:
    return f"{spec.name}.{axis}"


def misfit(spec: TensorSpec, shape: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"The file for input '{spec.name}' {text(spec.dims)} holds an array of shape {list(shape)}.",
        "Save an array of the shape that the input takes.",
    )


def text(dims: Sequence[int | str]) -> str:
    """ "[1, ?, 64]" """
    return "[" + ", ".join(str(dim) or "?" for dim in dims) + "]"
