"""A checkpoint in PyTorch, eager or compiled, timed at several token lengths. Prints [median, least] in s as JSON.

usage: torch_loop.py eager|compile fp32|bf16 THREADS CHECKPOINT TOKENS ...
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

import torch
import transformers

MIN_RUNS = 5
MIN_TIME_S = 0.5

how, precision, threads, folder, *lengths = sys.argv[1:]
torch.set_num_threads(int(threads))
kind = getattr(transformers, json.loads((Path(folder) / "config.json").read_text())["architectures"][0])
model = kind.from_pretrained(folder, dtype=torch.bfloat16 if precision == "bf16" else torch.float32).eval()
run = torch.compile(model) if how == "compile" else model


def inputs(tokens: int) -> dict[str, torch.Tensor]:
    if model.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(1, 3, 224, 224, dtype=model.dtype)}
    ids = torch.randint(3, 200, (1, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def timed(tokens: int) -> list[float]:
    given = inputs(tokens)
    for _ in range(3):
        run(**given)
    latencies: list[float] = []
    while len(latencies) < MIN_RUNS or sum(latencies) < MIN_TIME_S:
        start = time.perf_counter()
        run(**given)
        latencies.append(time.perf_counter() - start)
    return [median(latencies), min(latencies)]


with torch.inference_mode():
    print(json.dumps([timed(int(tokens)) for tokens in lengths]))
