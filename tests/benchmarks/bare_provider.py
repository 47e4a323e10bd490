"""A loop around a session opened by hand on a provider: MODEL PROVIDER WORK -> latencies in seconds, as JSON."""

import json
import sys
import time
from pathlib import Path

import onnxruntime as ort

from edgeprof.inputs import tensors
from edgeprof.providers.plugins import register
from tests.benchmarks.placement_cost import request as asked

request = asked(Path(sys.argv[3]), sys.argv[1], sys.argv[2])
options = ort.SessionOptions()
options.intra_op_num_threads = request.threads
options.add_session_config_entry("session.model_external_initializers_file_folder_path", request.weights_folder)
options.add_provider_for_devices(register(request.target)[:1], request.target.options)
session = ort.InferenceSession(Path(request.model).read_bytes(), options)
feeds = {value.name: tensors.make(value) for value in request.inputs}
session.run(None, feeds)
latencies_s: list[float] = []
while len(latencies_s) < 5 or sum(latencies_s) < 1:
    started = time.perf_counter()
    session.run(None, feeds)
    latencies_s.append(time.perf_counter() - started)
print(json.dumps(latencies_s))
