"""The meaning of inputs and their axes: by name, else by how the graph uses them.

Names are those of transformers, optimum, onnxruntime-genai, tf2onnx, Keras and the vendors' tools. An input whose name
is known means the same whatever its axes are called; one whose name is not may still be known by the table that it
indexes. `edgeprof.kv_cache` infers the axes of a cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgeprof import kv_cache, units
from edgeprof.schema import Record, TensorSpec
from edgeprof.symbols import Axis, meaning, names_in

if TYPE_CHECKING:
    import onnx

Meaning = Literal[
    "ids", "mask", "positions", "kinds", "past", "vectors", "pixels", "audio", "flag", "length", "index", "other"
]
"""`kinds`: token types; `vectors`: embeddings or hidden states; `flag`: whether the cache is used; `length`: a number
of tokens; `index`: indexes a table of unknown content."""

__all__ = ["Axis", "Input", "Meaning", "Signature", "signature"]


class Input(Record, frozen=True, kw_only=True):
    """One input of a graph, and its meaning."""

    spec: TensorSpec
    meaning: Meaning
    axes: tuple[Axis, ...]
    rows: int | None = None  # of the smallest table that it indexes
    table: str = ""  # the name of that table
    channels: int | None = None  # that the first convolution over it takes

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def known(self) -> bool:
        """Whether its values follow from its meaning."""
        return self.meaning != "other"


class Signature(Record, frozen=True, kw_only=True):
    """The inputs of a graph, and their meaning."""

    inputs: tuple[Input, ...]
    room: int | None = None
    """Tokens that a shared buffer has room for (`edgeprof.kv_cache`); None: there is none."""

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return tuple(one.spec for one in self.inputs)

    @property
    def past(self) -> tuple[Input, ...]:
        """Inputs that hold the KV cache."""
        return tuple(one for one in self.inputs if one.meaning == "past")

    @property
    def caches(self) -> bool:
        """Whether the graph takes a KV cache."""
        return bool(self.past)

    @property
    def no_decode(self) -> str:
        """Why the graph cannot decode one token after others; "" where it can."""
        if not self.caches:
            return "takes no KV cache"
        for one, _, dim in self.axes_of("tokens"):
            if isinstance(dim, int) and dim > 1 and one.meaning in ("ids", "vectors"):
                return f"takes {dim} new tokens at once in input '{one.name}'"
        empty = next((one.name for one, _, dim in self.axes_of("past") if dim == 0), "")
        return f"has a KV cache that is always empty in input '{empty}'" if empty else ""

    def fixed(self, role: Axis) -> int | None:
        """The size that the file fixes for a role, where it does."""
        return next((dim for _, _, dim in self.axes_of(role) if isinstance(dim, int)), None)

    def axes_of(self, *roles: Axis) -> list[tuple[Input, int, int | str]]:
        """Every axis of these roles: its input, its index, and its size or symbol. Positions may have a batch of 1."""
        return [
            (one, axis, one.spec.dims[axis])
            for one in self.inputs
            for axis, role in enumerate(one.axes)
            if role in roles and not (role == "batch" and one.meaning == "positions" and one.spec.dims[axis] == 1)
        ]

    @property
    def slots(self) -> int:
        """Tokens that a cache of slots has room for (`edgeprof.kv_cache`), the new one included; 0: there is none.

        Its mask is as long as the cache. Where a cache grows, the mask of a graph of fixed sizes is longer, by the new
        tokens.
        """
        past = self.fixed("past")
        return past if past and past == self.fixed("total") else 0

    @property
    def cache_kind(self) -> kv_cache.Kind:
        """How the cache takes new tokens."""
        return "buffer" if self.room is not None else "slots" if self.slots else "growing"

    def kind_of(self, cache: Input) -> kv_cache.Kind:
        """How one of the inputs in `past` takes new tokens."""
        if kv_cache.is_state(cache.name):
            return "state"
        return "cross" if "source" in cache.axes else self.cache_kind

    @property
    def step_only(self) -> Input | None:
        """The input that prevents prefill: one for a single new token, or a cache that is never empty."""
        if not self.caches:
            return None
        for one, _, dim in self.axes_of("tokens"):
            if dim == 1 and one.meaning in ("ids", "vectors"):
                return one
        return next((one for one, _, dim in self.axes_of("past") if isinstance(dim, int) and dim > 0), None)

    @property
    def no_prefill(self) -> str:
        """Why the graph cannot prefill; "" where it can."""
        keeper = self.step_only
        if keeper is None:
            return ""
        holds = f"always holds {units.counted(self.fixed('past') or 0, 'token')}"
        takes = holds if keeper.meaning == "past" else "takes 1 token"
        return f"is one step of decode: input '{keeper.name}' {takes}"

    @property
    def sized_by_length(self) -> bool:
        """Whether a token length can be chosen: at least one axis that it sizes is dynamic."""
        counting = self.axes_of("tokens", "past", "total", "source", "frames")
        return self.room is not None or any(isinstance(dim, str) for _, _, dim in counting)


def signature(
    specs: Sequence[TensorSpec], model: onnx.ModelProto | None = None, outputs: Sequence[TensorSpec] = ()
) -> Signature:
    """Infer the meaning of each input.

    Args:
        model: the graph, where names may not be enough: it tells which tables inputs index.
        outputs: of the graph; they show along which axis a KV cache grows.
    """
    tables = _tables(model) if model is not None else {}
    channels = _channels(model) if model is not None else {}
    decodes_beside = any(_plain(spec.name).startswith("decoder_") for spec in specs)
    found = [_read(spec, tables.get(spec.name), channels.get(spec.name), decodes_beside) for spec in specs]
    inputs = tuple(_with_past_axes(one, outputs) for one in found)
    room = _room(inputs, outputs)
    return Signature(inputs=inputs if room is None else tuple(map(_as_buffer, inputs)), room=room)


# --- by name -------------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    """ "serving_default_input_ids:0" -> "input_ids": without what tools put around a name."""
    name = re.sub(r":\d+$", "", name.lower()).rsplit("/", 1)[-1]
    return re.sub(r"^serving_default_|\.\d+$", "", name) or name


NAMES: tuple[tuple[str, str, Meaning], ...] = (
    (r"use_cache.*|.*_branch|is_(first|prefill|decode).*", "b", "flag"),
    (r".*mask.*", "bif", "mask"),
    (r".*position.*|cache_pos", "i", "positions"),
    (r".*(_lens?|length|lengths|seqlens_k|num_(tokens|frames)).*", "i", "length"),
    (kv_cache.LIKELY, "fi", "past"),
    (r".*(token_?type|segment|input_type|type_id).*", "i", "kinds"),
    (r".*(ids?|tokens?|words?|src|tgt|prompt)(_?\d+)?", "i", "ids"),
    (r".*(embeds?|embeddings?|hidden_states?|encoder_outputs?)(_?\d+)?", "f", "vectors"),
    (r".*(pixel|image|img).*", "fi", "pixels"),
    (r".*(input_features|input_values|mel|audio|waveform|speech|wav|fbank).*", "fi", "audio"),
)
"""A pattern of a name, kinds of numbers (b, i, f), and the meaning of such an input; the first match decides."""


def _read(spec: TensorSpec, table: tuple[str, int] | None, channels: int | None, decodes_beside: bool) -> Input:
    plain, kind = _plain(spec.name), _kind(spec.dtype)
    meant: Meaning = "other"
    if spec.kind == "tensor":
        meant = next((it for pattern, kinds, it in NAMES if kind in kinds and re.fullmatch(pattern, plain)), "other")
        if meant == "length" and len(spec.dims) > 1:
            meant = "ids" if table else "other"
        if meant == "flag" and len(spec.dims) > 1:
            meant = "other"
        if meant == "past" and len(spec.dims) < 3:
            meant = "other"
        if meant == "other" and table is not None and kind == "i":
            meant = "ids" if len(spec.dims) == 2 else "index"
    source = "encoder" in plain or (decodes_beside and not plain.startswith("decoder") and meant in ("ids", "mask"))
    axes = _axes(spec, plain, meant)
    if source:
        axes = tuple("source" if role in ("tokens", "total") else role for role in axes)
    name, rows = table or ("", None)
    return Input(spec=spec, meaning=meant, axes=axes, rows=rows, table=name, channels=channels)


def _kind(dtype: str) -> str:
    if dtype == "bool":
        return "b"
    if re.fullmatch(r"u?int\d+", dtype):
        return "i"
    return "f" if "float" in dtype else ""


def _axes(spec: TensorSpec, plain: str, meant: Meaning) -> tuple[Axis, ...]:
    """The roles of axes by the meaning of the input, else by the usual meaning of their symbols."""
    dims = spec.dims
    match meant, len(dims):
        case "ids" | "kinds", 1:
            return ("tokens",)
        case "ids" | "kinds" | "positions", 2:
            return ("tokens", "batch") if _turned(dims) else ("batch", "tokens")
        case "ids" | "kinds", 3:
            return ("batch", "", "tokens")
        case "positions", 1:
            return ("tokens",)
        case "positions", 3:
            return ("", "batch", "tokens")
        case "mask", 1:
            return ("total",)
        case "mask", 2:
            return ("total", "batch") if _turned(dims) else ("batch", "total")
        case "mask", 3:
            if "pixel" in plain:
                return ("batch", "height", "width")
            return ("batch", "" if isinstance(dims[1], int) and isinstance(dims[2], str) else "tokens", "total")
        case "mask", 4:
            return ("batch", "", "tokens", "total")
        case "vectors", 2:
            return ("tokens", "")
        case "vectors", 3:
            return ("tokens", "batch", "") if _turned(dims) else ("batch", "tokens", "")
        case "pixels", 4:
            return ("batch", *_image(dims[1:]))
        case "pixels", 5:
            return ("batch", "", *_image(dims[2:]))
        case "audio", 2:
            return ("batch", "frames")
        case "audio", 3:
            return ("batch", *_longer(dims[1:]))
        case "audio", 4:
            return ("batch", "", *_longer(dims[2:]))
        case "index", 1:
            return ("batch",)
    return tuple(meaning(str(dim), axis) if names_in(str(dim)) == [dim] else "" for axis, dim in enumerate(dims))


def _turned(dims: Sequence[int | str]) -> bool:
    """Whether the batch is the second axis, as in fairseq and Transformer-XL."""
    first, second = (meaning(str(dim), axis) for axis, dim in enumerate(dims[:2]))
    return second == "batch" and first != "batch"


CHANNELS = (1, 3, 4)


def _image(dims: Sequence[int | str]) -> tuple[Axis, Axis, Axis]:
    """Channels are first, or last where only the last size is one that channels have."""
    last = dims[2] in CHANNELS and dims[0] not in CHANNELS
    return ("height", "width", "channels") if last else ("channels", "height", "width")


def _longer(dims: Sequence[int | str]) -> tuple[Axis, Axis]:
    """[features, frames] or [frames, features]: the dynamic one counts frames, else the longer one."""
    match tuple(dims):
        case (str(), int()):
            return ("frames", "")
        case (int(features), int(frames)) if features > frames:
            return ("frames", "")
    return ("", "frames")


# --- the KV cache --------------------------------------------------------------------------------------------


def _with_past_axes(one: Input, outputs: Sequence[TensorSpec]) -> Input:
    """Set the roles of the axes of a cache; those of cross-attention count tokens of the encoder."""
    if one.meaning != "past":
        return one
    dims = one.spec.dims
    found = kv_cache.axes_of(one.spec, outputs, batch_second=_turned(dims))
    axes: list[Axis] = [""] * len(dims)
    axes[found.batch] = "" if re.search("heads?", str(dims[found.batch])) else "batch"  # Bloom counts both in one axis
    if found.tokens is not None:
        axes[found.tokens] = "source" if kv_cache.is_cross(_plain(one.name)) else "past"
    return msgspec.structs.replace(one, axes=tuple(axes))


def _room(inputs: Sequence[Input], outputs: Sequence[TensorSpec]) -> int | None:
    caches = [(one.spec, one.axes.index("past")) for one in inputs if one.meaning == "past" and "past" in one.axes]
    return kv_cache.buffer_size(caches, outputs, [one.name for one in inputs if one.meaning == "length"])


def _as_buffer(one: Input) -> Input:
    """Without an axis of past tokens: a buffer has the same size however many it holds."""
    axes: tuple[Axis, ...] = tuple("" if one.meaning == "past" and role == "past" else role for role in one.axes)
    return msgspec.structs.replace(one, axes=axes)


# --- by use in the graph ----------------------------------------------------------------------------------

PASS_THROUGH = {"Cast", "Clip", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
"""Operators that may stand between an input and the table that it indexes; the ids stay ids."""

LOOKUPS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "Gather": ((1, 0),),
    "GatherBlockQuantized": ((1, 0),),
    "EmbedLayerNormalization": ((0, 2), (1, 4)),
}
"""Operators that look up rows, or columns of a tied LM head: the position of the indices, and that of the table."""


def _tables(model: onnx.ModelProto) -> dict[str, tuple[str, int]]:
    """Name and number of rows of the smallest table that each graph input indexes."""
    graph = model.graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    ids = {value.name: value.name for value in graph.input if value.name not in sizes}
    found: dict[str, tuple[str, int]] = {}
    for node in graph.node:
        if not node.output:
            continue
        if node.op_type == "Constant":
            sizes[node.output[0]] = next((tuple(one.t.dims) for one in node.attribute if one.name == "value"), ())
        elif node.op_type in ("Identity", "DequantizeLinear", "Cast") and node.input and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
        elif node.op_type in PASS_THROUGH and node.input and node.input[0] in ids:
            ids[node.output[0]] = ids[node.input[0]]
        elif node.op_type == "Where" and (chosen := [name for name in node.input[1:] if name in ids]):
            ids[node.output[0]] = ids[chosen[0]]  # some ids stand for parts of an image
        for at, table in LOOKUPS.get(node.op_type, ()):
            if len(node.input) > max(at, table) and node.input[at] in ids:
                shape, taker, axis = sizes.get(node.input[table], ()), ids[node.input[at]], _axis(node)
                if len(shape) > axis >= 0 and (taker not in found or shape[axis] < found[taker][1]):
                    found[taker] = (node.input[table], shape[axis])
    return found


KEEP_CHANNELS = {*PASS_THROUGH, "BatchNormalization", "Div", "Mul", "Sub", "Transpose"} - {"Flatten", "Reshape"}
"""Operators between an image and the first convolution that keep the number of channels."""


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """The number of input channels of the first convolution over each graph input."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    images = {value.name: value.name for value in model.graph.input}
    found: dict[str, int] = {}
    for node in model.graph.node:
        if not node.input or node.input[0] not in images or not node.output:
            continue
        image, kernel = images[node.input[0]], shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
        if node.op_type == "Conv" and len(kernel) > 2:
            groups = next((one.i for one in node.attribute if one.name == "group"), 1)
            found.setdefault(image, kernel[1] * groups)
        elif node.op_type in KEEP_CHANNELS:
            images[node.output[0]] = image
    return found


def _axis(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name in ("axis", "gather_axis")), 0)
