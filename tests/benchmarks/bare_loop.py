"""What one would write by hand: an onnxruntime loop with I/O binding. Prints the median in seconds.

usage: bare_loop.py MODEL TOKENS RUNS
"""

import sys
import time
from statistics import median

import numpy as np
import onnxruntime as ort

model, tokens, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
binding = session.io_binding()
for name in ("input_ids", "attention_mask", "token_type_ids"):
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ones((1, tokens), np.int64)))
for output in session.get_outputs():
    binding.bind_output(output.name, "cpu")
for _ in range(5):
    session.run_with_iobinding(binding)
latencies = []
for _ in range(runs):
    start = time.perf_counter()
    session.run_with_iobinding(binding)
    latencies.append(time.perf_counter() - start)
print(median(latencies))
