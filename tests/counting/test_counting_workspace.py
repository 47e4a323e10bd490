"""What a kernel takes for itself: the formula at small sizes by hand, and the resident set of real nodes beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nodes import Arrays, f32, graph, i8, node, one, shapes, u8

from edgeprof.counting.reading import attributes, operator
from edgeprof.counting.shapes import infer
from edgeprof.counting.workspace import workspace

MIB = 2**20
HEADS, SIZE = 12, 64
WIDTH = HEADS * SIZE

Case = tuple[Any, Arrays, Arrays]


def workspace_bytes(model: onnx.ModelProto, feeds: Arrays) -> int:
    (one_node,) = model.graph.node
    tensors = infer(model, shapes(feeds))
    around = [[tensors.get(name) for name in names] for names in (one_node.input, one_node.output)]
    return sum(workspace(operator(one_node), *around, attributes(one_node)))


def cases(n: int) -> dict[str, Case]:
    """Nodes over n tokens, each with what comes with it."""
    heads = {name: f32(1, HEADS, n, SIZE) for name in "qkv"}
    flat = {name: f32(1, n, WIDTH) for name in "qkv"}
    grouped = {"q": f32(1, n, WIDTH), "k": f32(1, n, 4 * SIZE), "v": f32(1, n, 4 * SIZE)}
    past = {"pk": f32(1, 4, n, SIZE), "pv": f32(1, 4, n, SIZE)}
    packed = {"w": f32(WIDTH, 3 * WIDTH), "b": f32(3 * WIDTH)}
    multi, mask = "ms.MultiHeadAttention", np.ones((1, n), np.int32)
    return {
        "standard": (node("Attention", "q k v"), heads, {}),
        "standard, causal": (node("Attention", "q k v", is_causal=1), heads, {}),
        "standard, masked": (node("Attention", "q k v m"), {**heads, "m": np.ones((1, 1, n, n), bool)}, {}),
        "plain": (node(multi, "q k v", num_heads=HEADS), flat, {}),
        "with a bias": (node(multi, "q k v b", num_heads=HEADS), flat, {"b": f32(3 * WIDTH)}),
        "with padding": (node(multi, "q k v - p", num_heads=HEADS), {**flat, "p": mask}, {}),
        "causal": (node(multi, "q k v", num_heads=HEADS, unidirectional=1), flat, {}),
        "keys by head": (
            node(multi, "q k v", num_heads=HEADS),
            {"q": f32(1, n, WIDTH), "k": f32(1, HEADS, n, SIZE), "v": f32(1, HEADS, n, SIZE)},
            {},
        ),
        "with weights": (node("ms.Attention", "x w b", num_heads=HEADS), {"x": f32(1, n, WIDTH)}, packed),
        "with weights, causal": (
            node("ms.Attention", "x w b", num_heads=HEADS, unidirectional=1),
            {"x": f32(1, n, WIDTH)},
            packed,
        ),
        "with int8 weights": (
            node("ms.QAttention", "x w b xs ws - xz wz", num_heads=HEADS),
            {"x": u8(1, n, WIDTH)},
            {
                "w": i8(WIDTH, 3 * WIDTH),
                "b": f32(3 * WIDTH),
                "xs": one(),
                "ws": one(),
                "xz": one(np.uint8),
                "wz": one(np.int8),
            },
        ),
        "grouped, with a cache": (
            node("ms.GroupQueryAttention", "q k v pk pv n t", "y nk nv", num_heads=HEADS, kv_num_heads=4),
            {**grouped, **past},
            {"n": np.asarray([2 * n - 1], np.int32), "t": np.asarray(2 * n, np.int32)},
        ),
        "int8 matmul": (
            node("ms.DynamicQuantizeMatMul", "x w ws"),
            {"x": f32(n, 4096)},
            {"w": i8(4096, 512), "ws": one()},
        ),
        "4-bit matmul by integers": blocks(n, 4, accuracy_level=4),
        "8-bit matmul by integers": blocks(n, 8, accuracy_level=4),
        "4-bit matmul": blocks(n, 4),
        "8-bit matmul": blocks(n, 8),
        "lstm": (
            node("LSTM", "x w r", hidden_size=512),
            {"x": f32(n, 1, 512)},
            {"w": f32(1, 2048, 512), "r": f32(1, 2048, 512)},
        ),
    }


def blocks(n: int, bits: int, **level: int) -> Case:
    """n x 4096 numbers times 4096 x 512 weights in blocks of 32."""
    weights = {"w": u8(512, 128, 4 * bits), "s": f32(512 * 128)}
    built = node("ms.MatMulNBits", "x w s", K=4096, N=512, bits=bits, block_size=32, **level)
    return built, {"x": f32(n, 4096)}, weights


TILE = MIB / 4  # 128 queries, as many as a head has numbers twice, and 512 keys: a quarter of a cache of 1 MiB
SCORES, TENSOR, MASK = 12 * MIB, 1.5 * MIB, MIB  # at 512 tokens: 12 x 512 x 512, 512 x 768 and 512 x 512 in fp32
BY_HAND = {
    "standard": SCORES,
    "standard, causal": SCORES + MASK,
    "standard, masked": SCORES + MASK,
    "plain": 3 * TENSOR + TILE,
    "with a bias": 4 * TENSOR,
    "with padding": SCORES + 4 * TENSOR,
    "causal": SCORES + MASK + 4 * TENSOR,
    "keys by head": SCORES + 2 * TENSOR,
    "with weights": SCORES + 4 * TENSOR,
    "with weights, causal": SCORES + MASK + 4 * TENSOR,
    "with int8 weights": SCORES + 4 * TENSOR,
    "grouped, with a cache": TENSOR + 2 * TENSOR / 3 + TILE,  # 4 of 12 heads have keys and values
    "int8 matmul": 2 * MIB,  # 512 x 4096 in int8
    "4-bit matmul by integers": 2.5 * MIB,  # 512 x 4096 in int8, and 8 bytes for each 32 of them
    "8-bit matmul by integers": 2.5 * MIB,
    "4-bit matmul": 0,
    "8-bit matmul": 8 * MIB,  # the weights, 4096 x 512, in fp32
    "lstm": 4 * MIB,  # 512 x 2048 in fp32
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    built, feeds, weights = cases(512)[name]
    assert workspace_bytes(graph(built, feeds, weights), feeds) == BY_HAND[name]


def test_what_is_not_known_takes_nothing() -> None:
    feeds = {"x": f32(2, 3)}
    assert workspace_bytes(graph(node("Relu", "x"), feeds), feeds) == 0
    assert workspace_bytes(graph(node("ms.Attention", "x w b", num_heads=3), feeds), feeds) == 0


LEVEL2_CACHE_SIZE = 191  # of glibc's sysconf, which onnxruntime asks; Python has no name for it
CHILD = """
import gc, json, sys
import numpy as np, onnxruntime

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

grown = {}
for name, (path, feeds) in json.load(open(sys.argv[1])).items():
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for feed, (dtype, shape) in feeds.items():
        binding.bind_ortvalue_input(feed, onnxruntime.OrtValue.ortvalue_from_numpy(np.ones(shape, dtype)))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    for _ in range(2):  # the second writes into the outputs of the first
        gc.collect()
        open("/proc/self/clear_refs", "w").write("5")
        before = status("VmRSS")
        session.run_with_iobinding(binding)
    grown[name] = status("VmHWM") - before
print(json.dumps(grown))
"""


def test_tiles_are_as_large_as_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2 MiB, 1,024 keys; of 256 KiB, 128; and never more than there are."""
    built, feeds, weights = cases(512)["grouped, with a cache"]
    for cache, tile in ((2 * MIB, 2 * TILE), (MIB // 4, TILE / 4), (8 * MIB, 2 * TILE)):
        monkeypatch.setattr("edgeprof.counting.workspace.L2_BYTES", cache)
        assert workspace_bytes(graph(built, feeds, weights), feeds) == TENSOR + 2 * TENSOR / 3 + tile


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the resident set can be reset on Linux only")
@pytest.mark.parametrize("n", [512, 1024])
def test_as_seen(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every buffer of its own pages (mmap), given back at once: the peak of a run is what the kernel took.

    Tiles depend on the processor: AMD's have caches of 512 KiB or 1 MiB, Intel's of up to 2 MiB (with AMX). Where the
    system does not tell, onnxruntime takes no tiles, and what it does then is not modelled.
    """
    cache = os.sysconf(LEVEL2_CACHE_SIZE)
    monkeypatch.setattr("edgeprof.counting.workspace.L2_BYTES", cache or MIB)
    tiled = ("plain", "with a bias", "grouped, with a cache")
    expected, requested = {}, {}
    for index, (name, (built, feeds, weights)) in enumerate(cases(n).items()):
        if name in tiled and cache <= 0:
            continue
        model = graph(built, feeds, weights)
        onnx.save(model, tmp_path / f"{index}.onnx")
        expected[name] = workspace_bytes(model, feeds)
        requested[name] = (
            str(tmp_path / f"{index}.onnx"),
            {feed: (a.dtype.name, a.shape) for feed, a in feeds.items()},
        )
    (tmp_path / "asked.json").write_text(json.dumps(requested))
    own_pages = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "16384", "MALLOC_TOP_PAD_": "0"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "asked.json")],
        env={**os.environ, **own_pages},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)
    assert seen == {name: pytest.approx(bytes_, rel=0.05, abs=0.4 * MIB) for name, bytes_ in expected.items()}
