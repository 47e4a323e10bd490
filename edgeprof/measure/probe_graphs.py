"""Graphs of single operators at known shapes, for the probe of a device: what a transformer is made of.

Weights are constants, as in a model, so that the runtime packs them at load; their values do not matter to its kernels.
Short operators are repeated in a chain, whose time is theirs and not that of starting a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edgeprof import kv_cache
from edgeprof.schema import FP32, InputValue, Work

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

MS = "com.microsoft"
BLOCK = 32  # weights that share a scale, where they are quantized in blocks
CHAIN = 8
TINY = 16  # elements of a node whose work is next to nothing
SEED = 0

Attending = Literal["Attention", "MultiHeadAttention", "GroupQueryAttention"]
ATTENTIONS: tuple[Attending, ...] = ("Attention", "MultiHeadAttention", "GroupQueryAttention")
WITH_PAST: tuple[Attending, ...] = ("GroupQueryAttention", "Attention")


class Specimen(NamedTuple):
    """Work, with how to build its graph and what to feed it."""

    work: Work
    graph: str  # graphs with the same name are the same
    inputs: tuple[InputValue, ...]
    shared_tokens: int = 0


def build(work: Work) -> onnx.ModelProto:
    """The graph of some work; sizes of inputs are left open."""
    if work.operator == "chain":
        return _chain("Add", work.nodes, TINY)
    if work.operator == "mixed chain":
        return _mixed(work)
    if "matrices" in work.sizes:
        return _activation_product()
    builder = BUILDERS.get(work.operator)
    return builder(work) if builder else _chain(work.operator, work.nodes, work.sizes["columns"])


# --- products --------------------------------------------------------------------------------------------------


PRODUCTS = {FP32: "MatMul", "fp16": "MatMul", "int8": "DynamicQuantizeMatMul", "int4": "MatMulNBits"}
"""By precision: the operator that multiplies by a weight in the graph that runs."""

STORED = {FP32: 4.0, "fp16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / BLOCK}
"""Bytes of a weight, its share of scales in blocks included."""


def product(precision: str, rows: int, inner: int, columns: int, nodes: int = 1) -> Specimen:
    """[rows, inner] times a constant [inner, columns]; of several nodes, one after the other, each has its own.

    >>> work = product("fp32", 2, 4, 3).work
    >>> work.macs, work.weights_bytes, work.activation_bytes
    (24, 48, 56)
    """
    element = 2 if precision == "fp16" else 4
    work = Work(
        operator=PRODUCTS[precision],
        precision=precision,
        sizes={"rows": rows, "inner": inner, "columns": columns},
        nodes=nodes,
        macs=nodes * rows * inner * columns,
        weights_bytes=nodes * round(inner * columns * STORED[precision]),
        activation_bytes=nodes * element * rows * (inner + columns),
    )
    kind = "float16" if precision == "fp16" else "float32"
    values = (InputValue(name="x", dtype=kind, shape=(rows, inner), fill="normal"),)
    return Specimen(work, f"{work.operator}-{precision}-{inner}-{columns}-{nodes}", values)


def _product(work: Work) -> onnx.ModelProto:
    """One product after the other leaves values about as large as they were: neither infinite nor denormal ones, which
    some kernels are slow at."""
    import numpy as np
    from onnx import TensorProto

    inner, columns = work.sizes["inner"], work.sizes["columns"]
    settings: dict[str, Any] = {}
    kind = TensorProto.FLOAT16 if work.precision == "fp16" else TensorProto.FLOAT
    if work.operator == "MatMul":
        matrix = _values((inner, columns), np.float16 if work.precision == "fp16" else np.float32)
        weights = [matrix * inner**-0.5]
        domain = ""
    elif work.operator == "DynamicQuantizeMatMul":
        scales = np.full(columns, inner**-0.5 / 40, np.float32)
        weights = [_values((inner, columns), np.int8), scales, np.zeros(columns, np.int8)]
        domain = MS
    else:
        blocks = inner // BLOCK
        scales = np.full((columns, blocks), 2 / inner, np.float32)
        weights = [_values((columns, blocks, BLOCK // 2), np.uint8), scales]
        domain = MS
        settings |= {"K": inner, "N": columns, "bits": 4, "block_size": BLOCK, "accuracy_level": 4}
    scaling = {f"w{index}": values for index, values in enumerate(weights[1:], 1)}
    nodes, matrices = [], {}
    for index, (before, after) in enumerate(pairwise(_names(work.nodes))):
        matrix = weights[0].copy()
        matrix.flat[0] = index % 100  # the runtime packs equal weights once
        matrix.flat[1] = index // 100
        nodes.append(_node(work.operator, [before, f"m{index}", *scaling], [after], domain=domain, **settings))
        matrices[f"m{index}"] = matrix
    tensors = {"x": (kind, ("rows", inner))}, {"y": (kind, ("rows", columns))}
    return _model(nodes, *tensors, {**scaling, **matrices})


def _integer_product(work: Work) -> onnx.ModelProto:
    import numpy as np
    from onnx import TensorProto

    inner, columns = work.sizes["inner"], work.sizes["columns"]
    tensors = {"x": (TensorProto.UINT8, ("rows", inner))}, {"y": (TensorProto.INT32, ("rows", columns))}
    return _model([_node(work.operator, ["x", "w"])], *tensors, {"w": _values((inner, columns), np.int8)})


def activation_product(matrices: int, rows: int, inner: int, columns: int) -> Specimen:
    """Products of two activations, as of attention in parts: [matrices, rows, inner] times [matrices, inner, columns].

    >>> activation_product(12, 4, 64, 8).work.macs
    24576
    """
    work = Work(
        operator="MatMul",
        precision=FP32,
        sizes={"rows": rows, "inner": inner, "columns": columns, "matrices": matrices},
        macs=matrices * rows * inner * columns,
        activation_bytes=4 * matrices * (rows * inner + inner * columns + rows * columns),
    )
    shapes = {"x": (matrices, rows, inner), "z": (matrices, inner, columns)}
    values = [InputValue(name=name, dtype="float32", shape=shape, fill="normal") for name, shape in shapes.items()]
    return Specimen(work, "MatMul-activations", tuple(values))


def _activation_product() -> onnx.ModelProto:
    from onnx import TensorProto

    real = TensorProto.FLOAT
    inputs = {"x": (real, ("matrices", "rows", "inner")), "z": (real, ("matrices", "inner", "columns"))}
    return _model([_node("MatMul", ["x", "z"])], inputs, {"y": (real, ("matrices", "rows", "columns"))}, {})


def patches(side: int, patch: int, channels: int) -> Specimen:
    """The embedding of an image by its patches, a convolution without overlap: a product of the patches.

    >>> patches(224, 16, 192).work.macs
    28901376
    """
    places, inner = (side // patch) ** 2, 3 * patch * patch
    work = Work(
        operator="Conv",
        precision=FP32,
        sizes={"rows": places, "inner": inner, "columns": channels},
        macs=places * inner * channels,
        weights_bytes=4 * inner * channels,
        activation_bytes=4 * (3 * side * side + places * channels),
    )
    value = InputValue(name="x", dtype="float32", shape=(1, 3, side, side), fill="normal")
    return Specimen(work, f"Conv-{patch}-{channels}", (value,))


def _patches(work: Work) -> onnx.ModelProto:
    import numpy as np
    from onnx import TensorProto

    channels, patch = work.sizes["columns"], round((work.sizes["inner"] / 3) ** 0.5)
    weights = {"w": _values((channels, 3, patch, patch), np.float32)}
    node = _node("Conv", ["x", "w"], strides=[patch, patch], kernel_shape=[patch, patch])
    real = TensorProto.FLOAT
    return _model([node], {"x": (real, (1, 3, "h", "w_"))}, {"y": (real, (1, channels, "p", "q"))}, weights)


# --- attention -------------------------------------------------------------------------------------------------


def attention(operator: Attending, tokens: int, past: int, heads: int, size: int) -> Specimen:
    """Attention of some tokens to themselves and to those in a cache that is updated in place.

    >>> attention("GroupQueryAttention", 1, 128, 12, 64).work.macs  # scores and their sum, over 129 positions
    198144
    """
    total, width = past + tokens, heads * size
    work = Work(
        operator=operator,
        precision=FP32,
        sizes={"tokens": tokens, "past_tokens": past, "heads": heads, "head_size": size},
        macs=2 * tokens * total * width,
        activation_bytes=4 * width * 2 * (tokens + total),  # query and result, keys and values
    )
    shape = (1, heads, tokens, size) if operator == "Attention" else (1, tokens, width)
    values = [InputValue(name=name, dtype="float32", shape=shape, fill="normal") for name in "qkv"]
    if operator != "GroupQueryAttention" and not past:
        return Specimen(work, f"{operator}-{heads}-{size}", tuple(values))
    cache = (1, heads, past, size)
    values += [InputValue(name=name, dtype="float32", shape=cache, fill="normal") for name in PAST]
    if operator != "GroupQueryAttention":  # a cache that grows: the result is another tensor
        return Specimen(work, f"{operator}-{heads}-{size}-past", tuple(values))
    values.append(InputValue(name="last", dtype="int32", shape=(1,), fill="value", start=total - 1))
    values.append(InputValue(name="total", dtype="int32", shape=(), fill="value", start=total))
    return Specimen(work, f"{operator}-{heads}-{size}", tuple(values), shared_tokens=total)


PAST = tuple(f"{kv_cache.EXPORTED.past}.0.{which}" for which in ("key", "value"))
PRESENT = tuple(map(kv_cache.present_of, PAST))


def _attention(work: Work) -> onnx.ModelProto:
    from onnx import TensorProto

    heads, size = work.sizes["heads"], work.sizes["head_size"]
    real, whole = TensorProto.FLOAT, TensorProto.INT32
    dims = (1, heads, "tokens", size) if work.operator == "Attention" else (1, "tokens", heads * size)
    inputs: dict[str, Any] = dict.fromkeys("qkv", (real, dims))
    outputs: dict[str, Any] = {"y": (real, dims)}
    if work.operator == "Attention" and work.sizes["past_tokens"]:
        inputs |= dict.fromkeys(PAST, (real, (1, heads, "past", size)))
        outputs |= dict.fromkeys(PRESENT, (real, (1, heads, "all", size)))
        return _model([_node("Attention", ["q", "k", "v", "", *PAST], list(outputs))], inputs, outputs, {})
    if work.operator == "Attention":
        return _model([_node("Attention", ["q", "k", "v"])], inputs, outputs, {})
    if work.operator == "MultiHeadAttention":
        return _model([_node(work.operator, ["q", "k", "v"], domain=MS, num_heads=heads)], inputs, outputs, {})
    inputs |= dict.fromkeys(PAST, (real, (1, heads, "past", size)))
    inputs |= {"last": (whole, (1,)), "total": (whole, ())}
    outputs |= dict.fromkeys(PRESENT, (real, (1, heads, "all", size)))
    settings = {"num_heads": heads, "kv_num_heads": heads}
    node = _node(work.operator, list(inputs), list(outputs), domain=MS, **settings)
    return _model([node], inputs, outputs, {})


# --- the rest --------------------------------------------------------------------------------------------------


def chain(operator: str, rows: int, columns: int, nodes: int = CHAIN) -> Specimen:
    """A norm, an activation or a sum over [rows, columns], one after the other.

    >>> chain("Add", 2, 16).work.activation_bytes  # 8 nodes read two tensors and write one
    3072
    """
    tensors = 3 if operator in TWO_OPERANDS else 2
    work = Work(
        operator=operator,
        precision=FP32,
        sizes={"rows": rows, "columns": columns},
        nodes=nodes,
        activation_bytes=4 * nodes * tensors * rows * columns,
    )
    values = InputValue(name="x", dtype="float32", shape=(rows, columns), fill="normal")
    return Specimen(work, f"{operator}-{columns}", (values,))


def nothing(nodes: int) -> Specimen:
    """Nodes that do next to nothing: their number is what a run takes."""
    work = Work(operator="chain", precision=FP32, sizes={"elements": TINY}, nodes=nodes)
    values = InputValue(name="x", dtype="float32", shape=(1, TINY), fill="normal")
    return Specimen(work, f"chain-{nodes}", (values,))


AFTER_PRODUCTS = ("Relu", "Sigmoid", "Add", "Mul")
"""Sigmoid keeps values between 0 and 1 again and again: none grows without end or becomes a slow, denormal one."""


def mixed(products: int, width: int, small: int) -> Specimen:
    """Products, and after each so many small nodes of other operators: what a node takes among unlike ones.

    >>> mixed(24, 256, 2).work.nodes
    72
    """
    sizes = {"products": products, "elements": width}
    work = Work(operator="mixed chain", precision=FP32, sizes=sizes, nodes=products * (1 + small))
    values = InputValue(name="x", dtype="float32", shape=(1, width), fill="normal")
    return Specimen(work, f"mixed-{products}-{width}-{small}", (values,))


def _mixed(work: Work) -> onnx.ModelProto:
    import numpy as np
    from onnx import TensorProto

    products, width = work.sizes["products"], work.sizes["elements"]
    operators = ("MatMul", *AFTER_PRODUCTS[: work.nodes // products - 1])
    weights = {f"w{index}": _values((width, width), np.float32) * width**-0.5 for index in range(products)}
    listed = []
    for index, (before, after) in enumerate(pairwise(_names(work.nodes))):
        operator = operators[index % len(operators)]
        second = {"MatMul": [f"w{index // len(operators)}"], "Add": [before], "Mul": [before]}.get(operator, [])
        listed.append(_node(operator, [before, *second], [after]))
    dims = ("rows", width)
    return _model(listed, {"x": (TensorProto.FLOAT, dims)}, {"y": (TensorProto.FLOAT, dims)}, weights)


def quantizing(rows: int, columns: int) -> Specimen:
    """Activations made into integers, with a scale of their own."""
    work = Work(
        operator="DynamicQuantizeLinear",
        precision=FP32,
        sizes={"rows": rows, "columns": columns},
        activation_bytes=5 * rows * columns + 5,
    )
    values = InputValue(name="x", dtype="float32", shape=(rows, columns), fill="normal")
    return Specimen(work, f"DynamicQuantizeLinear-{columns}", (values,))


def _quantizing(work: Work) -> onnx.ModelProto:
    from onnx import TensorProto

    dims = ("rows", work.sizes["columns"])
    outputs = {"y": (TensorProto.UINT8, dims), "scale": (TensorProto.FLOAT, ()), "zero": (TensorProto.UINT8, ())}
    node = _node("DynamicQuantizeLinear", ["x"], list(outputs))
    return _model([node], {"x": (TensorProto.FLOAT, dims)}, outputs, {})


def transpose(tokens: int, heads: int, size: int) -> Specimen:
    """Heads before tokens."""
    elements = tokens * heads * size
    sizes = {"rows": tokens * heads, "columns": size}
    work = Work(operator="Transpose", precision=FP32, sizes=sizes, activation_bytes=2 * 4 * elements)
    values = InputValue(name="x", dtype="float32", shape=(1, tokens, heads, size), fill="normal")
    return Specimen(work, "Transpose", (values,))


def _transpose(_work: Work) -> onnx.ModelProto:
    from onnx import TensorProto

    node = _node("Transpose", ["x"], perm=[0, 2, 1, 3])
    real = TensorProto.FLOAT
    return _model([node], {"x": (real, (1, "n", "h", "d"))}, {"y": (real, (1, "h", "n", "d"))}, {})


TWO_OPERANDS = ("Add", "Mul", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
DOMAINS = dict.fromkeys(
    ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "BiasGelu", "FastGelu", "QuickGelu"), MS
)
SCALED = ("LayerNormalization", "SimplifiedLayerNormalization", *TWO_OPERANDS[2:], "BiasGelu")
"""Operators with a weight for each column."""


def _chain(operator: str, nodes: int, columns: int) -> onnx.ModelProto:
    import numpy as np
    from onnx import TensorProto

    weights = {"w": np.full(columns, 0.5, np.float32)} if operator in SCALED else {}
    settings = {"axis": -1} if operator in ("Softmax", *SCALED[:2]) else {}
    second = ["x"] if operator in TWO_OPERANDS else []
    listed = [
        _node(operator, [before, *second, *weights], [after], domain=DOMAINS.get(operator, ""), **settings)
        for before, after in pairwise(_names(nodes))
    ]
    dims = ("rows", columns)
    return _model(listed, {"x": (TensorProto.FLOAT, dims)}, {"y": (TensorProto.FLOAT, dims)}, weights)


def resize(channels: int, side: int, resized: int) -> Specimen:
    """A square of places made larger or smaller by cubic interpolation, as position embeddings of an image are.

    >>> resize(2, 4, 8).work.macs  # 16 values for each of 2 x 8 x 8
    2048
    """
    work = Work(
        operator="Resize",
        precision=FP32,
        sizes={"rows": channels * resized, "columns": resized, "taps": 16},
        macs=16 * channels * resized**2,
        activation_bytes=4 * channels * (side**2 + resized**2),
    )
    value = InputValue(name="x", dtype="float32", shape=(1, channels, side, side), fill="normal")
    return Specimen(work, f"Resize-{channels}-{resized}", (value,))


def _resize(work: Work) -> onnx.ModelProto:
    import numpy as np
    from onnx import TensorProto

    resized = work.sizes["columns"]
    sizes = {"sizes": np.array([1, work.sizes["rows"] // resized, resized, resized], np.int64)}
    node = _node("Resize", ["x", "", "", "sizes"], mode="cubic")
    real = TensorProto.FLOAT
    return _model([node], {"x": (real, (1, "c", "h", "w"))}, {"y": (real, (1, "c", "r", "s"))}, sizes)


TABLE = 8192  # rows that an embedding is looked up in


def gather(rows: int, columns: int) -> Specimen:
    """Rows of a table, as of an embedding."""
    work = Work(
        operator="Gather",
        precision=FP32,
        sizes={"rows": rows, "columns": columns},
        activation_bytes=2 * 4 * rows * columns,
    )
    values = InputValue(name="x", dtype="int64", shape=(rows,), fill="token_ids", high=TABLE)
    return Specimen(work, f"Gather-{columns}", (values,))


def _gather(work: Work) -> onnx.ModelProto:
    import numpy as np
    from onnx import TensorProto

    columns = work.sizes["columns"]
    table = {"w": _values((TABLE, columns), np.float32)}
    node = _node("Gather", ["w", "x"])
    return _model([node], {"x": (TensorProto.INT64, ("rows",))}, {"y": (TensorProto.FLOAT, ("rows", columns))}, table)


def copy(elements: int) -> Specimen:
    """Two tensors joined to one: nothing but a copy."""
    work = Work(operator="Concat", precision=FP32, sizes={"elements": elements}, activation_bytes=2 * 4 * elements)
    values = [InputValue(name=name, dtype="float32", shape=(1, elements // 2), fill="zeros") for name in "xz"]
    return Specimen(work, "Concat", tuple(values))


def _copy(_work: Work) -> onnx.ModelProto:
    from onnx import TensorProto

    half = (TensorProto.FLOAT, (1, "half"))
    node = _node("Concat", ["x", "z"], axis=1)
    return _model([node], {"x": half, "z": half}, {"y": (TensorProto.FLOAT, (1, "all"))}, {})


BUILDERS: dict[str, Callable[[Work], onnx.ModelProto]] = {
    **dict.fromkeys(("MatMul", "DynamicQuantizeMatMul", "MatMulNBits"), _product),
    **dict.fromkeys(ATTENTIONS, _attention),
    "MatMulInteger": _integer_product,
    "Gather": _gather,
    "Concat": _copy,
    "Conv": _patches,
    "DynamicQuantizeLinear": _quantizing,
    "Resize": _resize,
    "Transpose": _transpose,
}


def _names(nodes: int) -> list[str]:
    """The tensors between so many nodes, from "x" to "y"."""
    return ["x", *(f"y{index}" for index in range(nodes - 1)), "y"]


# --- ONNX ------------------------------------------------------------------------------------------------------


def _values(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """Numbers around zero; the first million, repeated, as drawing many takes long."""
    import numpy as np

    drawn = np.random.default_rng(SEED).standard_normal(1 << 20)
    return np.resize((drawn * (40 if np.dtype(kind).kind in "iu" else 1)).astype(kind), shape)


def _node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), *, domain: str = "", **settings: Any
) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, domain=domain, **settings)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    weights: dict[str, NDArray[Any]],
) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "probe",
        list(_declared(inputs)),
        list(_declared(outputs)),
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    attends = any(node.op_type == "Attention" for node in nodes)
    opsets = [helper.make_opsetid("", 23 if attends else 20), helper.make_opsetid(MS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _declared(tensors: dict[str, Any]) -> Iterator[onnx.ValueInfoProto]:
    from onnx import helper

    for name, (kind, dims) in tensors.items():
        yield helper.make_tensor_value_info(name, kind, dims)
