"""Bytes per second at which onnxruntime reads weights: a vector times a matrix of 512 MiB, on all threads.

usage: memory_bandwidth.py THREADS
"""

import sys
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

ROWS, COLUMNS = 8192, 16384

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, ROWS])
w = helper.make_tensor_value_info("w", TensorProto.FLOAT, [ROWS, COLUMNS])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, COLUMNS])
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "matvec", [x, w], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[1])
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
binding = session.io_binding()
for name, shape in (("x", (1, ROWS)), ("w", (ROWS, COLUMNS))):
    binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.ones(shape, np.float32)))
binding.bind_output("y")
seconds = []
for _ in range(10):
    start = time.perf_counter()
    session.run_with_iobinding(binding)
    seconds.append(time.perf_counter() - start)
print(4 * ROWS * COLUMNS / min(seconds))
