"""Upgrades of older records to the next version: a function for each class that changed.

A function converts the plain fields of a record to those of the next version; classes without one did not change.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edgeprof.schema.identity import Precision, WeightsSource
from edgeprof.schema.measurement import Measurement
from edgeprof.schema.models import Artifact, Graph
from edgeprof.schema.operators import OperatorPass

Fields = dict[str, Any]
Upgrade = Callable[[Fields], Fields]


def weights_source(text: str) -> WeightsSource:
    """Parse the text of version 1: "pretrained (...)", "random (seed N)", "file".

    >>> weights_source("pretrained (openai-community/gpt2)").origin
    'openai-community/gpt2'
    """
    if match := re.fullmatch(r"random \(seed (\d+)\)", text):
        return WeightsSource(kind="random", seed=int(match[1]))
    if match := re.fullmatch(r"pretrained \((.*)\)", text):
        return WeightsSource(kind="pretrained", origin=match[1])
    if text == "file":
        return WeightsSource(kind="file")
    raise ValueError(f"`weights` is {text!r}")


def _artifact(fields: Fields) -> Fields:
    """Precision and weights become records; the only graph becomes a record of its own."""
    of_graph = {name: fields[name] for name in Graph.__struct_fields__ if name in fields}
    others = {name: value for name, value in fields.items() if name not in of_graph}
    return {
        **others,
        "precision": msgspec.to_builtins(Precision.parse(fields["precision"])),
        "weights": msgspec.to_builtins(weights_source(fields["weights"])),
        "graphs": [of_graph],
        "data_files": [f"{fields['path']}.data"] if fields.get("data_bytes") else [],
    }


def _key(fields: Fields) -> Fields:
    """The key of a point: version 1 had its parts as fields of each record."""
    return {
        "subject": {
            "model": fields["variant"],
            "precision": msgspec.to_builtins(Precision.parse(fields["precision"])),
            "weights": msgspec.to_builtins(weights_source(fields.get("weights", "file"))),
            "digest": fields["artifact_sha256"],
        },
        "load": {name: fields[name] for name in ("phase", "batch", "tokens", "past_tokens")},
        "place": {
            "machine_id": fields["machine_id"],
            "provider": fields["provider"],
            "options": sorted(fields.get("provider_options", {}).items()),
            "library": fields.get("provider_library", ""),
            "device": fields.get("device", ""),
            "emulated": fields.get("emulated", False),
            "threads": fields["threads"],
        },
    }


def _outcome(fields: Fields) -> Fields:
    return _some(fields, "status", "error", "reading", "started_at")


def _some(fields: Fields, *names: str) -> Fields:
    return {name: fields[name] for name in names if name in fields}


_DEFAULT_OPTIONS = {
    "webgpu": {"enableInt64": "1"},
    "openvino-cpu": {"device_type": "CPU"},
    "openvino-gpu": {"device_type": "GPU"},
    "openvino-npu": {"device_type": "NPU"},
    "qnn": {"backend_type": "htp", "soc_model": "60", "offload_graph_io_quantization": "0"},
    "qnn-gpu": {"backend_type": "gpu"},
    "coreml": {"MLComputeUnits": "CPUAndGPU", "ModelFormat": "MLProgram"},
    "coreml-npu": {
        "MLComputeUnits": "CPUAndNeuralEngine",
        "ModelFormat": "MLProgram",
        "RequireStaticInputShapes": "1",
    },
    "directml": {"performance_preference": "high_performance", "device_filter": "gpu"},
    "ggml": {"device": "gpu"},
    "ggml-cpu": {"device": "cpu"},
}
"""Default options of each provider; version 1 did not distinguish them from the user's."""


def _measurement(fields: Fields) -> Fields:
    facts = _some(fields, "family", "params", "macs", "seq", "dims", "fills")
    defaults, options = _DEFAULT_OPTIONS.get(fields["provider"], {}), fields.get("provider_options", {})
    facts["ep_options"] = {name: value for name, value in options.items() if defaults.get(name) != value}
    if fields["provider"] == "cpu":  # predictions apply to the CPU provider only
        facts |= _some(fields, "memory_predicted_bytes")
    receipt = _some(fields, "static", "placement", "agreement", "compiled", "compile_s", "load_plain_s")
    return {
        "key": _key(fields),
        "facts": facts,
        "receipt": receipt,
        "outcome": _outcome(fields),
        **_some(fields, "round", "stopping", "settings_key"),
    }


def _operator_pass(fields: Fields) -> Fields:
    kept = _some(fields, "vocabulary", "quantization", "dispatch_only", "settings_key")
    return {"key": _key(fields), "outcome": _outcome(fields), **kept}


UPGRADES: Mapping[int, Mapping[type, Upgrade]] = {
    1: {Artifact: _artifact, Measurement: _measurement, OperatorPass: _operator_pass}
}
"""Older version -> class -> upgrade to the next version."""
