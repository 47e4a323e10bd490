"""Files nobody wrote: valid ones with flipped, missing and repeated bytes, and graphs of random nodes.

`python damage.py FOLDER SEED COUNT` reads, sizes and counts COUNT of them, in memory of 1 GB. What is not answered is
refused by an EdgeprofError; anything else ends the process, with the file that did it left behind.
"""

import random
import resource
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgeprof import counting
from edgeprof.errors import EdgeprofError
from edgeprof.inputs import LoadRequest, resolve
from edgeprof.inputs.roles import signature

MOST_BYTES = 2**30
SIZES = (0, 1, 2, 3, 7, 64, -1, 2**31, 2**62)
TYPES = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.FLOAT16,
    TensorProto.STRING,
    TensorProto.BOOL,
    TensorProto.INT4,
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, a part lost, or a part twice."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(broken))
        match chance.choice(("flip", "flip", "byte", "cut", "twice")):
            case "flip":
                broken[at] ^= 1 << chance.randrange(8)
            case "byte":
                broken[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case "cut":
                del broken[at : at + chance.choice((1, 4, 64, 4096))]
            case "twice":
                broken[at:at] = broken[at : at + chance.choice((4, 64))]
        if not broken:
            break
    return bytes(broken)


def random_graph(chance: random.Random) -> bytes:
    """Nodes of any operator over whatever values there are, with attributes of random names and values."""
    schemas = [schema for schema in onnx.defs.get_all_schemas() if schema.domain in ("", "ai.onnx.ml")]
    contrib = (
        "Attention",
        "MultiHeadAttention",
        "GroupQueryAttention",
        "MatMulNBits",
        "QAttention",
        "MoE",
        "FusedConv",
    )
    values, nodes = ["x", "y", "w", ""], []
    for index in range(chance.randrange(1, 8)):
        schema = chance.choice(schemas)
        ours = chance.random() < 0.2
        kind, domain = (chance.choice(contrib), "com.microsoft") if ours else (schema.name, schema.domain)
        names = [*schema.attributes, "num_heads", "axis", "N", "K", "block_size"]
        chosen = chance.sample(names, min(3, len(names)))
        settings = {name: chance.choice((0, 1, -1, 2**40, 0.5, "a", [1], [0, -1], [2**40])) for name in chosen}
        inputs = [chance.choice(values) for _ in range(chance.randrange(6))]
        outputs = [f"v{index}.{number}" for number in range(chance.randrange(3))]
        nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))
        values += outputs
    shape = [chance.choice((*SIZES, "n", None)) for _ in range(chance.randrange(5))]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, chance.choice(TYPES), shape) for name in ("x", "y")],
        [helper.make_tensor_value_info(chance.choice(values) or "x", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 3], [1.0] * 6)],
    )
    opsets = [helper.make_opsetid(domain, chance.choice((1, 7, 13, 17, 21, 99))) for domain in ("", "com.microsoft")]
    return bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())


def files(folder: Path, chance: random.Random) -> Iterator[bytes]:
    valid = [file.read_bytes() for file in sorted(folder.rglob("*.onnx"))]
    while True:
        yield random_graph(chance) if chance.random() < 0.5 else damaged(chance.choice(valid), chance)


def answer(file: Path) -> bool:
    """Read, size and count a file; whether it was answered, and not refused."""
    try:
        model = counting.read(file)
        accepted = signature(counting.inputs(model), model, counting.outputs(model))
        counting.parameters(model), counting.precision(model)
        for load in (LoadRequest(length=4), LoadRequest(), LoadRequest(phase="decode", length=4)):
            try:
                counting.count(model, resolve(accepted, load).shapes)
            except EdgeprofError:
                continue
            return True
    except EdgeprofError:
        pass
    return False


def main(folder: Path, seed: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    warnings.simplefilter("error")
    chance, answered = random.Random(seed), 0
    file = folder / "damaged.bin"
    for _, data in zip(range(count), files(folder, chance), strict=False):
        file.write_bytes(data)
        answered += answer(file)
    file.unlink()
    sys.stdout.write(f"{answered} of {count}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
