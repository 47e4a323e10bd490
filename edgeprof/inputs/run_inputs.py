"""The inputs of a model in one run: sizes from its family where there is one, else from the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof import counting, kv_cache
from edgeprof.errors import UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.inputs import Axis, LoadRequest, Signature, Sizes, files, fill, resolve, signature
from edgeprof.inputs.tensors import dtype_of, make
from edgeprof.kv_cache import EXPORTED, RANK, TOKENS, is_cross, is_present
from edgeprof.schema import Artifact, Case, Fill, Graph, InputValue, Load, Record, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto


class Inputs(Record, frozen=True, kw_only=True):
    """Sizes and values of the inputs of one run."""

    sizes: Sizes
    values: tuple[InputValue, ...]
    end: int | None = None  # see `end_token`

    @property
    def case(self) -> Case:
        """The shape; 0 tokens where no axis counts them."""
        sizes = self.sizes
        return Case(
            batch=sizes.batch,
            tokens=sizes.tokens or sizes.frames or 0,
            past_tokens=sizes.past_tokens,
            source_tokens=sizes.source_tokens or 0,
        )

    @property
    def flags(self) -> dict[str, NDArray[Any]]:
        """Inputs whose values decide which nodes run: a past, a number of tokens. Counting needs them."""
        return {value.name: make(value) for value in self.values if value.fill == "value"}

    @property
    def past_bytes(self) -> int:
        """Bytes of earlier tokens in a KV cache that new tokens are added to, which grows; a run copies them."""
        return past_bytes(self.values, self.sizes.past_tokens)

    def require_right_padding(self) -> None:
        """Require that masks from files pad at the end, as fused attention takes them.

        Raises:
            UsageError: one pads elsewhere: the results would be wrong, and nothing else would tell.
        """
        for value in self.values:
            if value.fill != "file" or "mask" not in value.name or len(value.shape) != 2:
                continue
            mask, past = make(value), self.sizes.past_tokens
            if any((part[:, 1:] > part[:, :-1]).any() for part in (mask[:, :past], mask[:, past:])):
                raise UsageError(
                    f"The file for input '{value.name}' pads on the left; fused attention takes padding on the right.",
                    "Pad on the right, or export the model with --portable.",
                )

    def refilled(self, signature: Signature, chosen: Mapping[str, Fill]) -> Inputs:
        """The same sizes, with other fills for inputs of unknown meaning."""
        given = {value.name: value for value in self.values if value.fill == "file"}
        values = fill(signature, self.sizes, given=given, chosen=chosen, end=self.end)
        return Inputs(sizes=self.sizes, values=values, end=self.end)

    @property
    def fills(self) -> dict[str, str]:
        """What each input is filled with, as text; the caches of all layers in one entry, "past_key_values.*"."""
        return {re.sub(EVERY_LAYER, r"\1.*", value.name): fill_text(value) for value in self.values}


def past_bytes(values: Iterable[InputValue], tokens: int) -> int:
    """Bytes of that many earlier tokens in the KV cache among inputs; 0 where it does not grow."""
    caches = (value for value in values if kv_cache.is_past(value.name) and not kv_cache.is_cross(value.name))
    return sum(
        prod(value.shape) * int(dtype_of(value.dtype).itemsize)
        for value in caches
        if len(value.shape) == kv_cache.RANK and tokens and value.shape[kv_cache.TOKENS] == tokens
    )


def load_of(sizes: Sizes, attended: int | None = None) -> Load:
    """What a run at these sizes is given.

    Args:
        attended: positions that attention runs over, which count the tokens where no axis of the inputs does.
    """
    tokens = sizes.tokens or attended or sizes.frames
    return Load(
        phase=sizes.phase,
        batch=sizes.batch,
        tokens=tokens,
        past_tokens=sizes.past_tokens,
        source_tokens=sizes.source_tokens,
    )


def fill_text(value: InputValue) -> str:
    match value.fill:
        case "token_ids":
            return f"ids below {value.high:,}" + (f", then {value.end}" if value.end is not None else "")
        case "positions":
            return "positions"
        case "value":
            return "whether there is a past" if value.dtype == "bool" else "the number of tokens"
        case "normal":
            return "normal values"
        case "uniform":
            return "values from 0 to 1"
        case "file":
            return Path(value.file).name
    return value.fill


def signature_of_graph(model: ModelProto) -> Signature:
    """The inputs of any graph, and their meaning."""
    return signature(counting.inputs(model), model, counting.outputs(model))


def signature_of_artifact(artifact: Artifact, graph: Graph) -> Signature:
    """The inputs of a graph of an artifact, and their meaning; a file from elsewhere is read."""
    if traced_variant(artifact) is not None:
        return signature(graph.inputs)
    return signature_of_graph(counting.read(Path(graph.path)))


EVERY_LAYER = rf"^({EXPORTED.past})\..*"

IMAGE = 224
"""Side of an image in pixels, where a configuration has none."""


def usual_sizes(artifact: Artifact) -> dict[Axis, int]:
    """The sizes of images, and of the encoder's output where it has one size, for a model that edgeprof exported."""
    if not artifact.exported:
        return {}
    known = artifact.architecture or artifact.variant
    height, width = image_size(known.config if known else {})
    cross = (
        spec for graph in artifact.graphs for spec in graph.outputs if is_present(spec.name) and is_cross(spec.name)
    )
    source = next((spec.dims[TOKENS] for spec in cross if len(spec.dims) == RANK), None)
    fixed: dict[Axis, int] = {"source": source} if isinstance(source, int) else {}
    return {"height": height, "width": width, **fixed}


def end_token(artifact: Artifact) -> int | None:
    """The id that ends a sequence, for a model that looks for it: classifiers of encoder-decoders read its state.

    None for all other models.
    """
    one = artifact.architecture
    if one is None or "Classification" not in one.class_name or not one.config.get("is_encoder_decoder"):
        return None
    end = one.config.get("eos_token_id")
    return end if isinstance(end, int) else None


def image_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the images that a model was trained on, by its configuration.

    >>> image_size({"image_size": 384}), image_size({"vision_config": {"image_size": [56, 28]}}), image_size({})
    ((384, 384), (56, 28), (224, 224))
    """
    match config.get("image_size"):
        case int(side):
            return side, side
        case [int(height), int(width)] | {"height": int(height), "width": int(width)}:
            return height, width
    vision = config.get("vision_config")
    return image_size(vision) if isinstance(vision, Mapping) else (IMAGE, IMAGE)


def of_variant(signature: Signature, variant: Variant, case: Case) -> Inputs:
    """The inputs of a model of a known family at a shape."""
    family = family_of(variant)
    symbols = {dim for spec in signature.specs for dim in spec.dims if isinstance(dim, str)}
    dims = {symbol: size for symbol, size in family.sizes(variant, case).items() if symbol in symbols}
    step = signature.caches and case.past_tokens and case.tokens == 1
    load = LoadRequest(phase="decode" if step else "prefill", batch=case.batch)
    sizes = resolve(signature, load, dims=dims)
    return Inputs(sizes=sizes, values=fill(signature, sizes, rows=family.table_rows(variant)))


def of_file(
    signature: Signature,
    load: LoadRequest,
    *,
    dims: Mapping[str, int] | None = None,
    given: Mapping[str, Path] | None = None,
    chosen: Mapping[str, Fill] | None = None,
    usual: Mapping[Axis, int] | None = None,
    end: int | None = None,
) -> Inputs:
    """The inputs of any graph, by the meaning of their names and axes.

    Args:
        dims: sizes by symbol, or by "<input>.<axis>".
        given: files with values, by input name; they also size axes that have no size otherwise.
        chosen: fills that gave a result in a trial.
        usual: sizes by meaning, of axes that nothing else sizes.
        end: the id that ends a sequence: see `end_token`.

    Raises:
        UsageError, UnknownName: as `inputs.resolve`, `inputs.fill` and `inputs.files.given`.
    """
    values = files.given(signature.specs, given or {})
    arrays = {name: value.shape for name, value in values.items()}
    sizes = resolve(signature, load, dims=dims, arrays=arrays, usual=usual)
    return Inputs(sizes=sizes, values=fill(signature, sizes, given=values, chosen=chosen, end=end), end=end)
