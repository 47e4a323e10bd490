"""Add an execution provider: one row. Here WebGPU's library plays the plugin of an invented vendor."""

from edgeprof.providers.table import Provider

# --- added: a row of PROVIDERS in edgeprof/providers/table.py -------------------------------------------------------

Provider(
    name="acme",
    runtime_name="WebGpuExecutionProvider",
    kind="GPU",
    vendor="Acme",
    package="onnxruntime-ep-webgpu",
    install="pip install onnxruntime-ep-webgpu",
    docs="https://onnxruntime.ai/docs/execution-providers/WebGPU-ExecutionProvider.html",
    plugin="onnxruntime_ep_webgpu",
    library="onnxruntime_providers_webgpu",
    options={"enableInt64": "1"},
    software="Vulkan device in software",
    vulkan=True,
    known={"powerPreference": ("high-performance", "low-power")},
    lacks=("Attention",),
    precisions=("fp32", "fp16"),
    runtime=">=1.24",
    asynchronous=True,
    platforms=("linux-x86_64",),
)

# --- the test -------------------------------------------------------------------------------------------------------

import pytest
from checkouts import Checkout


@pytest.mark.usefixtures("swiftshader")
def test_add_a_provider(checkout: Checkout, added: str) -> None:
    checkout.add_row("edgeprof/providers/table.py", "PROVIDERS: ", added)

    checkout.edgeprof("export", "mixer-block", "--width", 64, "--heads", 2, "--precision", "fp32,int8")
    points = checkout.profile("--seq", 16, "--ep", "cpu,acme", "--ep-option", "acme.powerPreference=low-power", code=1)
    assert {key: point["status"] for key, point in points.items()} == {
        ("cpu", "fp32"): "ok",
        ("cpu", "int8"): "ok",
        ("acme", "fp32"): "ok",
        ("acme", "int8"): "unsupported",
    }
    assert "acme does not accept int8; it accepts fp32, fp16." in points["acme", "int8"]["error"]

    point = points["acme", "fp32"]
    assert point["macs_share"] == "1.0"  # with Attention in smaller operators, Acme runs everything
    assert point["agrees"] == "True"
    assert point["emulated"] == "True"  # SwiftShader reports a CPU, not the GPU of the row
    assert point["provider_options"] == "enableInt64=1 powerPreference=low-power"

    checkout.edgeprof("profile", "--seq", 16, "--ep", "acme", "--ep-option", "powerPreference=least", code=2)
