"""OpenVINO, reading the ONNX file itself: not onnxruntime's provider for it."""

from __future__ import annotations

from typing import Any, ClassVar

from edgeprof.baselines.engine import Engine
from edgeprof.inputs import tensors

PROPERTIES = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
"""One run at a time, on all threads; multiplied in fp32, as elsewhere, also where the processor has bf16."""


class OpenVino(Engine):
    core: ClassVar[Any]

    @classmethod
    def start(cls) -> None:
        import openvino

        cls.core = openvino.Core()
        cls.core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin

    def load(self) -> None:
        properties = {**PROPERTIES, "INFERENCE_NUM_THREADS": str(self.request.threads)}
        self.compiled = self.core.compile_model(self.request.model, "CPU", properties)

    def feed(self) -> None:
        import openvino

        self.requested = self.compiled.create_infer_request()
        self.arrays = {value.name: tensors.make(value) for value in self.request.inputs}
        for name, array in self.arrays.items():
            self.requested.set_tensor(name, openvino.Tensor(array, shared_memory=array.size > 0))

    def run(self) -> object:
        return self.requested.infer()

    def outputs(self) -> dict[str, Any]:
        self.run()
        return {output.any_name: self.requested.get_tensor(output).data for output in self.compiled.outputs}
