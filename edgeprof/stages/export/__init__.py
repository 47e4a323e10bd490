"""Export from PyTorch to ONNX.

stage       the stage: the request, the process that traces, the files that it writes
torch_onnx  torch's own exporter, without the step that takes two thirds of its time
"""

from edgeprof.stages.export.stage import (
    NOTES,
    OPSET,
    OPSETS,
    ExportRequest,
    Route,
    export,
    require_extra,
    require_opset,
    routes,
    versions,
)

__all__ = [
    "NOTES",
    "OPSET",
    "OPSETS",
    "ExportRequest",
    "Route",
    "export",
    "require_extra",
    "require_opset",
    "routes",
    "versions",
]
