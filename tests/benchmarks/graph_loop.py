"""One ONNX file of a transformer, timed at several shapes, whatever wrote it. Prints [median, least] in s as JSON.

Inputs are bound once. Past and present of a decoder with fused attention are one buffer, as its runtimes use it; a
cache without that is handed over as it comes, and grows by a copy in every step.

usage: graph_loop.py THREADS HEAD_SIZE MODEL TOKENS+PAST ...
"""

import json
import sys
import time
from statistics import median

import numpy as np
import onnxruntime

from edgeprof.providers.session import open_session

ROOM = 1024
"""Tokens that the buffer of a KV cache has room for."""

MIN_RUNS = 5
MIN_TIME_S = 0.5
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
IMAGE = (1, 3, 224, 224)


def timed(session: onnxruntime.InferenceSession, shared: bool, head_size: int, tokens: int, past: int) -> list[float]:
    generator = np.random.default_rng(0)
    binding = session.io_binding()
    for value in session.get_inputs():
        kind, name = TYPES[value.type], value.name
        if name.startswith("past"):
            room = ROOM if shared else past
            array = generator.standard_normal((1, value.shape[1], room, head_size)).astype(kind)
            cache = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            binding.bind_ortvalue_input(name, cache)
            if shared:
                binding.bind_ortvalue_output(name.replace("past_key_values", "present"), cache)
            continue
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(_input(name, tokens, past, kind)))
    for output in session.get_outputs():
        if not (shared and output.name.startswith("present")):
            binding.bind_output(output.name)
    for _ in range(2):
        session.run_with_iobinding(binding)
    latencies: list[float] = []
    while len(latencies) < MIN_RUNS or sum(latencies) < MIN_TIME_S:
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        latencies.append(time.perf_counter() - start)
    return [median(latencies), min(latencies)]


def _input(name: str, tokens: int, past: int, kind: type) -> np.ndarray:
    match name:
        case "input_ids":
            return np.random.default_rng(1).integers(3, 200, (1, tokens)).astype(kind)
        case "attention_mask":
            return np.ones((1, past + tokens), kind)
        case "position_ids":
            return np.arange(past, past + tokens, dtype=kind)[None]
        case "token_type_ids":
            return np.zeros((1, tokens), kind)
        case "pixel_values":
            return np.random.default_rng(1).standard_normal(IMAGE).astype(kind)
    raise SystemExit(f"graph_loop.py knows no values for {name}")


def fused(model: str) -> bool:
    import onnx

    nodes = onnx.load(model, load_external_data=False).graph.node
    return any(node.op_type == "GroupQueryAttention" for node in nodes)


if __name__ == "__main__":
    threads, head_size, model, *shapes = sys.argv[1:]
    session = open_session(model, threads=int(threads))
    pairs = [tuple(map(int, shape.split("+"))) for shape in shapes]
    print(json.dumps([timed(session, fused(model), int(head_size), *pair) for pair in pairs]))
