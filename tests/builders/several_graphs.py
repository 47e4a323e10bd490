"""Artifacts of several graphs that share one data file, as the export writes them, of models with a layer or two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeprof import store
from edgeprof.api.artifact_cache import make
from edgeprof.process import silent
from edgeprof.schema import Architecture, Artifact, Case, Graph, GraphCount, Precision, Role, TensorSpec, WeightsSource
from edgeprof.stages import reference

VOCABULARY, WIDTH, HEADS, IMAGE, PATCH, STATE = 80, 32, 2, 8, 4, 3
END = 2
"""The id of the end token."""

PARTS = (IMAGE // PATCH) ** 2
"""Of an image."""

B, S, PAST, TOTAL, SOURCE = (
    "batch_size",
    "sequence_length",
    "past_sequence_length",
    "past_sequence_length + sequence_length",
    "encoder_sequence_length",
)
SYMBOLS = {B: 2, S: 3, PAST: 4, TOTAL: 7, SOURCE: 5, "height": IMAGE, "width": IMAGE}
"""Sizes at which the graphs are held against their reference values."""

WEIGHTS = {
    "embedding": (VOCABULARY, WIDTH),
    "head": (WIDTH, VOCABULARY),
    "patches": (WIDTH, 3, PATCH, PATCH),
    "encoder.projection": (WIDTH, WIDTH),
}


class Sketch(NamedTuple):
    """A graph in short: inputs and outputs as (name, type, dims), nodes as (operator, inputs, output, attributes)."""

    role: Role
    inputs: Sequence[tuple[str, str, tuple[int | str, ...]]]
    outputs: Sequence[tuple[str, str, tuple[int | str, ...]]]
    nodes: Sequence[tuple[str, list[str], str, dict[str, Any]]]


CACHE = (B, HEADS, PAST, WIDTH // HEADS)
LOOKUP = ("Gather", ["embedding", "input_ids"], "looked_up", {})
NEW = [  # keys of the new tokens: [batch, heads, tokens, size]
    ("MatMul", ["looked_up", "encoder.projection"], "keys", {}),
    ("Reshape", ["keys", "#0,0,2,16"], "split", {}),
    ("Transpose", ["split"], "new", {"perm": [0, 2, 1, 3]}),
]
LOGITS = ("MatMul", ["looked_up", "head"], "logits", {})
IDS = ("input_ids", "int64", (B, S))
PIXELS = ("pixel_values", "float32", (B, 3, "height", "width"))
PATCHES = [
    ("Conv", ["pixel_values", "patches"], "convolved", {"strides": [PATCH, PATCH]}),
    ("ReduceMean", ["convolved", "#2,3"], "image_embeds", {"keepdims": 0}),
]

ENCODER_DECODER = (
    Sketch(
        "encoder",
        [("input_ids", "int64", (B, SOURCE)), ("attention_mask", "int64", (B, SOURCE))],
        [
            ("last_hidden_state", "float32", (B, SOURCE, WIDTH)),
            ("present.0.encoder.key", "float32", (B, HEADS, SOURCE, WIDTH // HEADS)),
        ],
        [
            LOOKUP,
            ("Cast", ["attention_mask"], "ones", {"to": TensorProto.FLOAT}),
            ("Unsqueeze", ["ones", "#-1"], "kept", {}),
            ("Mul", ["looked_up", "kept"], "masked", {}),
            ("MatMul", ["masked", "encoder.projection"], "last_hidden_state", {}),
            ("Reshape", ["last_hidden_state", "#0,0,2,16"], "split", {}),
            ("Transpose", ["split"], "present.0.encoder.key", {"perm": [0, 2, 1, 3]}),
        ],
    ),
    Sketch(
        "decoder",
        [
            ("decoder_input_ids", "int64", (B, S)),
            ("past_key_values.0.decoder.key", "float32", CACHE),
            ("past_key_values.0.encoder.key", "float32", (B, HEADS, SOURCE, WIDTH // HEADS)),
        ],
        [
            ("logits", "float32", (B, S, VOCABULARY)),
            ("present.0.decoder.key", "float32", (B, HEADS, TOTAL, WIDTH // HEADS)),
        ],
        [
            ("Gather", ["embedding", "decoder_input_ids"], "looked_up", {}),
            *NEW,
            ("Concat", ["past_key_values.0.decoder.key", "new"], "present.0.decoder.key", {"axis": 2}),
            ("ReduceSum", ["past_key_values.0.encoder.key", "#1,2,3"], "source", {"keepdims": 0}),
            ("Reshape", ["source", "#-1,1,1"], "added", {}),
            ("MatMul", ["looked_up", "head"], "scores", {}),
            ("Add", ["scores", "added"], "logits", {}),
        ],
    ),
)
"""A translator: every layer shares its weights with that of the other side."""

CAPTIONER = (
    Sketch(
        "encoder",
        [("pixel_values", "float32", (B, 3, IMAGE, IMAGE))],
        [("present.0.encoder.key", "float32", (B, HEADS, PARTS, WIDTH // HEADS))],
        [
            PATCHES[0],
            ("Reshape", ["convolved", f"#0,{HEADS},{WIDTH // HEADS},-1"], "split", {}),
            ("Transpose", ["split"], "present.0.encoder.key", {"perm": [0, 1, 3, 2]}),
        ],
    ),
    ENCODER_DECODER[1]._replace(
        inputs=[
            *ENCODER_DECODER[1].inputs[:2],
            ("past_key_values.0.encoder.key", "float32", (B, HEADS, PARTS, WIDTH // HEADS)),
        ]
    ),
)
"""Text about an image, whose encoder takes images of one size."""

CLASSIFIER = (
    Sketch(
        "model",
        [IDS],
        [("places", "int64", (2, 1))],
        [
            ("Equal", ["input_ids", f"#{END}"], "ends", {}),
            ("NonZero", ["ends"], "all", {}),
            ("Gather", ["all", "#0"], "places", {"axis": 1}),
        ],
    ),
)
"""It reads the state of the first end token, here no more than its place; and fails where there is none."""

STATE_SPACE = (
    Sketch(
        "prefill",
        [IDS],
        [("logits", "float32", (B, S, VOCABULARY)), ("present.0.conv", "float32", (B, WIDTH, STATE))],
        [
            LOOKUP,
            LOGITS,
            ("ReduceMean", ["looked_up", "#1"], "mean", {"keepdims": 0}),
            ("Unsqueeze", ["mean", "#-1"], "column", {}),
            ("Expand", ["column", f"#1,1,{STATE}"], "present.0.conv", {}),
        ],
    ),
    Sketch(
        "decode",
        [("input_ids", "int64", (B, 1)), ("past_key_values.0.conv", "float32", (B, WIDTH, STATE))],
        [("logits", "float32", (B, 1, VOCABULARY)), ("present.0.conv", "float32", (B, WIDTH, STATE))],
        [
            LOOKUP,
            ("Transpose", ["looked_up"], "column", {"perm": [0, 2, 1]}),
            ("Add", ["past_key_values.0.conv", "column"], "present.0.conv", {}),
            LOGITS,
        ],
    ),
)
"""A recurrence: a graph for many tokens, and one for a single one."""

DUAL_TOWERS = (
    Sketch(
        "model",
        [IDS, PIXELS],
        [("logits_per_image", "float32", (B, B))],
        [
            *PATCHES,
            LOOKUP,
            ("ReduceMean", ["looked_up", "#1"], "text_embeds", {"keepdims": 0}),
            ("Transpose", ["text_embeds"], "turned", {"perm": [1, 0]}),
            ("MatMul", ["image_embeds", "turned"], "logits_per_image", {}),
        ],
    ),
    Sketch("vision", [PIXELS], [("image_embeds", "float32", (B, WIDTH))], PATCHES),
    Sketch(
        "text",
        [IDS],
        [("text_embeds", "float32", (B, WIDTH))],
        [LOOKUP, ("ReduceMean", ["looked_up", "#1"], "text_embeds", {"keepdims": 0})],
    ),
)
"""Images and texts in one space: each tower, and both."""


def weight(name: str) -> np.ndarray[Any, Any]:
    seed = sorted(WEIGHTS).index(name)
    return np.random.default_rng(seed).standard_normal(WEIGHTS[name], np.float32) / 4


def build(
    folder: Path,
    name: str,
    sketches: Sequence[Sketch],
    max_tokens: int | None = 64,
    class_name: str = "TinyModel",
    **config: object,
) -> Artifact:
    """Write an artifact of random weights to a folder, with reference values that onnxruntime computes."""

    def fill(partial: Path) -> Artifact:
        used = {one for sketch in sketches for _, read, _, _ in sketch.nodes for one in read if one in WEIGHTS}
        places = _write_weights(partial / store.WEIGHTS_FILE, sorted(used))
        return Artifact(
            name=name,
            precision=Precision(recipe="fp32"),
            weights=WeightsSource(kind="random"),
            graphs=tuple(_graph(partial, sketch, places) for sketch in sketches),
            architecture=Architecture(
                class_name=class_name, model_type="tiny", config={"image_size": IMAGE, **config}, max_tokens=max_tokens
            ),
            params=sum(weight(one).size for one in used),
        )

    return make(folder, "key", False, fill, silent)[0]


def _write_weights(file: Path, names: Sequence[str]) -> dict[str, int]:
    """Write weights one after the other; returns where each begins."""
    places, data = {}, bytearray()
    for name in names:
        places[name] = len(data)
        data += weight(name).tobytes()
    file.write_bytes(data)
    return places


def _graph(folder: Path, sketch: Sketch, places: dict[str, int]) -> Graph:
    file = folder / ("model.onnx" if sketch.role == "model" else f"{sketch.role}.onnx")
    file.write_bytes(_model(sketch, places).SerializeToString())
    session = onnxruntime.InferenceSession(file)
    random = np.random.default_rng(1)
    feeds = {
        name: random.standard_normal(shape, np.float32) if dtype == "float32" else random.integers(1, VOCABULARY, shape)
        for name, dtype, dims in sketch.inputs
        for shape in [tuple(SYMBOLS.get(str(dim), dim) for dim in dims)]
    }
    if "input_ids" in feeds:
        feeds["input_ids"][:, -1] = END
    names = [output[0] for output in sketch.outputs]
    expected = dict(zip(names, session.run(names, feeds), strict=True))
    case = Case(batch=SYMBOLS[B], tokens=SYMBOLS[S])
    graph = Graph(
        role=sketch.role,
        path=str(file),
        opset=21,
        inputs=_specs(sketch.inputs),
        outputs=_specs(sketch.outputs),
        count=GraphCount(nodes={}, weights_bytes=0),
    )
    reference.save(store.reference_file(graph), [(case, feeds, expected)])
    return graph


def _specs(values: Sequence[tuple[str, str, tuple[int | str, ...]]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, dtype=dtype, dims=dims) for name, dtype, dims in values)


def _model(sketch: Sketch, places: dict[str, int]) -> onnx.ModelProto:
    constants: dict[str, onnx.TensorProto] = {}
    nodes = []
    for operator, read, written, attributes in sketch.nodes:
        for one in read:
            if one.startswith("#"):
                constants[one] = numpy_helper.from_array(np.array([int(n) for n in one[1:].split(",")], np.int64), one)
            elif one in WEIGHTS:
                constants[one] = _external(one, places[one])
        nodes.append(helper.make_node(operator, read, [written], **attributes))
    graph = helper.make_graph(
        nodes, sketch.role, _infos(sketch.inputs), _infos(sketch.outputs), list(constants.values())
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _infos(values: Sequence[tuple[str, str, tuple[int | str, ...]]]) -> list[onnx.ValueInfoProto]:
    types = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    return [helper.make_tensor_value_info(name, types[dtype], dims) for name, dtype, dims in values]


def _external(name: str, offset: int) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(weight(name), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", store.WEIGHTS_FILE), ("offset", offset), ("length", weight(name).nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
