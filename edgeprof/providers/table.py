"""The execution providers edgeprof knows: one row each.

Where one package drives several kinds of devices, each is a row, and its name ends with the kind: `openvino-npu`.
A name without an ending is the device that the provider is known for.
"""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

from edgeprof.errors import UnknownName
from edgeprof.providers import known_options
from edgeprof.providers.known_options import Known
from edgeprof.recipe_table import NAMES, WEIGHT_ONLY
from edgeprof.schema import CPU, Kind, Record, Target

_DOCS = "https://onnxruntime.ai/docs/execution-providers/"
_DESKTOP = ("linux-x86_64", "linux-aarch64", "windows-x86_64", "windows-aarch64", "macos-aarch64")
_NVIDIA = ("linux-x86_64", "windows-x86_64")


class Provider(Record, frozen=True, kw_only=True):
    name: str  # what --ep takes
    runtime_name: str  # onnxruntime's
    kind: Kind
    vendor: str  # of the device
    package: str  # that pip installs; "": there is none
    install: str  # the command that installs it, or where to get it
    docs: str
    plugin: str = ""  # Python module of a plugin; "": built into an onnxruntime
    library: str = ""  # a plugin's shared library, without the prefix and ending of the operating system
    device: dict[str, str] = {}  # options that select the device, which users cannot change
    options: dict[str, str] = {}  # default options
    emulator: dict[str, str] = {}  # options that select an emulator on x86, where there is no device
    software: str = ""  # what stands for the device if it reports a CPU instead of its kind; "": nothing does
    vulkan: bool = False  # reaches its device through Vulkan, for which there are drivers in software
    known: Known = {}  # options it documents
    static: bool = False  # accepts only graphs without dynamic dimensions
    lacks: tuple[str, ...] = ()  # operators that it accepts only when they are decomposed into smaller ones
    precisions: tuple[str, ...] = NAMES  # recipes whose graphs it accepts
    runtime: str = ""  # range of onnxruntime versions it needs
    asynchronous: bool = False  # a run returns before the device is done
    platforms: tuple[str, ...] = _DESKTOP  # that it is built for


_OPENVINO_PACKAGE = "onnxruntime-openvino"
_OPENVINO_INSTALL = "pip uninstall -y onnxruntime && pip install onnxruntime-openvino"
_TENSORRT_FORMS = ("fp32", "fp16", "bf16", "int8-static", "a8w8")

PROVIDERS: tuple[Provider, ...] = (
    Provider(
        name="cpu",
        runtime_name="CPUExecutionProvider",
        kind="CPU",
        vendor="any",
        package="onnxruntime",
        install="pip install onnxruntime",
        docs=_DOCS,
    ),
    Provider(
        name="xnnpack",
        runtime_name="XnnpackExecutionProvider",
        kind="CPU",
        vendor="any",
        package="",
        install="No Python package contains it: build onnxruntime with --use_xnnpack --build_wheel",
        docs=_DOCS + "Xnnpack-ExecutionProvider.html",
        known=known_options.XNNPACK,
        lacks=("Attention",),
        precisions=("fp32",),
        platforms=("linux-x86_64", "linux-aarch64", "windows-x86_64", "windows-aarch64"),
    ),
    Provider(
        name="webgpu",
        runtime_name="WebGpuExecutionProvider",
        kind="GPU",
        vendor="any",
        package="onnxruntime-ep-webgpu",
        install="pip install onnxruntime-ep-webgpu",
        docs=_DOCS + "WebGPU-ExecutionProvider.html",
        plugin="onnxruntime_ep_webgpu",
        library="onnxruntime_providers_webgpu",
        options={"enableInt64": "1"},
        software="Vulkan device in software",
        vulkan=True,
        known=known_options.WEBGPU,
        lacks=("Attention",),
        precisions=("fp32", "fp16", *WEIGHT_ONLY),
        runtime=">=1.24",
        asynchronous=True,
        platforms=("linux-x86_64", "windows-x86_64", "windows-aarch64", "macos-aarch64"),
    ),
    Provider(
        name="cuda",
        runtime_name="CUDAExecutionProvider",
        kind="GPU",
        vendor="NVIDIA",
        package="onnxruntime-gpu",
        install="pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
        docs=_DOCS + "CUDA-ExecutionProvider.html",
        known=known_options.CUDA,
        precisions=("fp32", "fp16", "bf16", *WEIGHT_ONLY),
        asynchronous=True,
        platforms=_NVIDIA,
    ),
    Provider(
        name="tensorrt",
        runtime_name="TensorrtExecutionProvider",
        kind="GPU",
        vendor="NVIDIA",
        package="onnxruntime-gpu",
        install="pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt",
        docs=_DOCS + "TensorRT-ExecutionProvider.html",
        known=known_options.TENSORRT,
        precisions=_TENSORRT_FORMS,
        asynchronous=True,
        platforms=_NVIDIA,
    ),
    Provider(
        name="tensorrt-rtx",
        runtime_name="NvTensorRTRTXExecutionProvider",
        kind="GPU",
        vendor="NVIDIA",
        package="onnxruntime-ep-nv-tensorrt-rtx",
        install="pip install onnxruntime-ep-nv-tensorrt-rtx",
        docs=_DOCS + "TensorRTRTX-ExecutionProvider.html",
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
        library="onnxruntime_providers_nv_tensorrt_rtx",
        known=known_options.TENSORRT_RTX,
        precisions=_TENSORRT_FORMS,
        runtime=">=1.24",
        asynchronous=True,
        platforms=_NVIDIA,
    ),
    Provider(
        name="openvino-cpu",
        runtime_name="OpenVINOExecutionProvider",
        kind="CPU",
        vendor="Intel",
        package=_OPENVINO_PACKAGE,
        install=_OPENVINO_INSTALL,
        docs=_DOCS + "OpenVINO-ExecutionProvider.html",
        device={"device_type": "CPU"},
        known=known_options.OPENVINO,
        lacks=("Attention",),
        precisions=("fp32", "fp16", "int8-static", "a8w8"),
        platforms=_NVIDIA,
    ),
    Provider(
        name="openvino-gpu",
        runtime_name="OpenVINOExecutionProvider",
        kind="GPU",
        vendor="Intel",
        package=_OPENVINO_PACKAGE,
        install=_OPENVINO_INSTALL,
        docs=_DOCS + "OpenVINO-ExecutionProvider.html",
        device={"device_type": "GPU"},
        known=known_options.OPENVINO,
        lacks=("Attention",),
        precisions=("fp32", "fp16", "int8-static", "a8w8"),
        platforms=_NVIDIA,
    ),
    Provider(
        name="openvino-npu",
        runtime_name="OpenVINOExecutionProvider",
        kind="NPU",
        vendor="Intel",
        package=_OPENVINO_PACKAGE,
        install=_OPENVINO_INSTALL,
        docs=_DOCS + "OpenVINO-ExecutionProvider.html",
        device={"device_type": "NPU"},
        known=known_options.OPENVINO,
        lacks=("Attention", "GroupQueryAttention"),
        static=True,
        precisions=("fp32", "fp16", "a8w8", "a16w8"),
        platforms=_NVIDIA,
    ),
    Provider(
        name="qnn",
        runtime_name="QNNExecutionProvider",
        kind="NPU",
        vendor="Qualcomm",
        package="onnxruntime-qnn",
        install="pip install onnxruntime-qnn",
        docs="https://github.com/onnxruntime/onnxruntime-qnn/blob/main/docs/execution_providers/QNN-ExecutionProvider.md",
        plugin="onnxruntime_qnn",
        library="onnxruntime_providers_qnn",
        device={"backend_type": "htp"},
        emulator={"soc_model": "60"},
        options={"offload_graph_io_quantization": "0"},  # inputs and outputs are quantized on the NPU, not on the CPU
        software="HTP emulator",
        known=known_options.QNN,
        static=True,
        lacks=("Attention", "GroupQueryAttention"),
        precisions=("fp32", "fp16", "a8w8", "a16w8"),
        runtime=">=1.24.2",
        platforms=("linux-x86_64", "linux-aarch64", "windows-x86_64", "windows-aarch64"),
    ),
    Provider(
        name="qnn-gpu",
        runtime_name="QNNExecutionProvider",
        kind="GPU",
        vendor="Qualcomm",
        package="onnxruntime-qnn",
        install="pip install onnxruntime-qnn",
        docs="https://github.com/onnxruntime/onnxruntime-qnn/blob/main/docs/execution_providers/QNN-ExecutionProvider.md",
        plugin="onnxruntime_qnn",
        library="onnxruntime_providers_qnn",
        device={"backend_type": "gpu"},
        known=known_options.QNN,
        static=True,
        lacks=("Attention", "GroupQueryAttention"),
        precisions=("fp32", "fp16"),
        runtime=">=1.24.2",
        platforms=("linux-aarch64", "windows-aarch64"),
    ),
    Provider(
        name="coreml",
        runtime_name="CoreMLExecutionProvider",
        kind="GPU",
        vendor="Apple",
        package="onnxruntime",
        install="pip install onnxruntime",
        docs=_DOCS + "CoreML-ExecutionProvider.html",
        device={"MLComputeUnits": "CPUAndGPU"},
        options={"ModelFormat": "MLProgram"},
        known=known_options.COREML,
        lacks=("Attention",),
        precisions=("fp32", "fp16"),
        platforms=("macos-aarch64",),
    ),
    Provider(
        name="coreml-npu",
        runtime_name="CoreMLExecutionProvider",
        kind="NPU",
        vendor="Apple",
        package="onnxruntime",
        install="pip install onnxruntime",
        docs=_DOCS + "CoreML-ExecutionProvider.html",
        device={"MLComputeUnits": "CPUAndNeuralEngine"},
        options={"ModelFormat": "MLProgram", "RequireStaticInputShapes": "1"},
        known=known_options.COREML,
        static=True,
        lacks=("Attention", "GroupQueryAttention"),
        precisions=("fp32", "fp16"),
        platforms=("macos-aarch64",),
    ),
    Provider(
        name="directml",
        runtime_name="DmlExecutionProvider",
        kind="GPU",
        vendor="any",
        package="onnxruntime-directml",
        install="pip uninstall -y onnxruntime && pip install onnxruntime-directml",
        docs=_DOCS + "DirectML-ExecutionProvider.html",
        options={"performance_preference": "high_performance", "device_filter": "gpu"},
        known=known_options.DIRECTML,
        lacks=("Attention",),
        precisions=("fp32", "fp16"),
        asynchronous=True,
        platforms=("windows-x86_64",),
    ),
    Provider(
        name="migraphx",
        runtime_name="MIGraphXExecutionProvider",
        kind="GPU",
        vendor="AMD",
        package="onnxruntime-migraphx",
        install="pip uninstall -y onnxruntime && pip install onnxruntime-migraphx",
        docs=_DOCS + "MIGraphX-ExecutionProvider.html",
        known=known_options.MIGRAPHX,
        precisions=("fp32", "fp16", "bf16"),
        asynchronous=True,
        platforms=("linux-x86_64",),
    ),
    Provider(
        name="vitisai",
        runtime_name="VitisAIExecutionProvider",
        kind="NPU",
        vendor="AMD",
        package="",
        install="It comes with AMD's Ryzen AI Software: https://ryzenai.docs.amd.com/en/latest/inst.html",
        docs=_DOCS + "Vitis-AI-ExecutionProvider.html",
        known=known_options.VITISAI,
        static=True,
        lacks=("Attention", "GroupQueryAttention"),
        precisions=("bf16", "a8w8"),
        platforms=("windows-x86_64", "linux-aarch64"),
    ),
    Provider(
        name="cann",
        runtime_name="CANNExecutionProvider",
        kind="NPU",
        vendor="Huawei",
        package="onnxruntime-cann",
        install="pip uninstall -y onnxruntime && pip install onnxruntime-cann",
        docs=_DOCS + "community-maintained/CANN-ExecutionProvider.html",
        known=known_options.CANN,
        lacks=("Attention",),
        precisions=("fp32", "fp16"),
        asynchronous=True,
        platforms=("linux-x86_64", "linux-aarch64"),
    ),
    Provider(
        name="mlx",
        runtime_name="MLXExecutionProvider",
        kind="GPU",
        vendor="Apple",
        package="onnxruntime-ep-mlx",
        install="pip install onnxruntime-ep-mlx",
        docs="https://github.com/onnxruntime/onnxruntime-ep-mlx",
        plugin="onnxruntime_ep_mlx",
        library="onnxruntime_mlx_ep",
        precisions=("fp32", "fp16", "bf16", *WEIGHT_ONLY),
        runtime=">=1.31",
        platforms=("macos-aarch64",),
    ),
    Provider(
        name="ggml",
        runtime_name="ggml",
        kind="GPU",
        vendor="any",
        package="onnxruntime-ggml",
        install="pip install onnxruntime-ggml",
        docs="https://github.com/thewh1teagle/onnxruntime-ggml",
        plugin="onnxruntime_ggml",
        library="onnxruntime_ggml",
        device={"device": "gpu"},
        known=known_options.GGML,
        precisions=("fp32", "fp16"),
        runtime=">=1.29,<1.31",
        platforms=("linux-x86_64", "linux-aarch64", "windows-x86_64", "macos-aarch64"),
    ),
    Provider(
        name="ggml-cpu",
        runtime_name="ggml",
        kind="CPU",
        vendor="any",
        package="onnxruntime-ggml",
        install="pip install onnxruntime-ggml",
        docs="https://github.com/thewh1teagle/onnxruntime-ggml",
        plugin="onnxruntime_ggml",
        library="onnxruntime_ggml",
        device={"device": "cpu"},
        known=known_options.GGML,
        precisions=("fp32", "fp16"),
        runtime=">=1.29,<1.31",
        platforms=("linux-x86_64", "linux-aarch64", "windows-x86_64", "macos-aarch64"),
    ),
)


def find(name: str) -> Provider:
    """The row of that name.

    Raises:
        UnknownName: there is none; the message offers the nearest names.
    """
    row = row_of(name)
    if row is None:
        raise UnknownName("execution provider", name, [provider.name for provider in PROVIDERS])
    return row


def row_of(name: str) -> Provider | None:
    """As `find`; None where there is no row of that name."""
    return next((row for row in PROVIDERS if row.name == name), None)


def target(name: str, library: str = "") -> Target:
    """The target of the provider of that name, with its default options, whether it is installed here or not.

    Args:
        library: of the plugin; "" for the one that is installed.

    Raises:
        UnknownName: there is no such provider.
    """
    row = find(name)
    if row.name == CPU.provider:
        return CPU
    installed = library_of(row)
    library = library or installed
    emulated = bool(row.emulator) and machine() == "x86_64"
    options = {**row.device, **row.options, **(row.emulator if emulated else {})}
    return Target(
        provider=row.name,
        runtime_name=row.runtime_name,
        kind=row.kind,
        library=library,
        plugin=row.plugin if library == installed else "",
        options=options,
        defaults=options,
        preload=vulkan_loader() if row.vulkan else (),
        precisions=row.precisions,
        static=row.static,
        lacks=row.lacks,
        asynchronous=row.asynchronous,
        software=row.software,
        emulated=emulated,
    )


def here() -> str:
    """This computer as a platform of the table: "linux-x86_64"."""
    system = platform.system().lower()
    return f"{'macos' if system == 'darwin' else system}-{machine()}"


def machine() -> str:
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def library_of(row: Provider) -> str:
    """Path of an installed plugin's shared library, located without importing the plugin; "" where there is none."""
    spec = find_spec(row.plugin) if row.plugin else None
    for folder in (spec and spec.submodule_search_locations) or ():
        for ending in (f"lib{row.library}.so", f"lib{row.library}.dylib", f"{row.library}.dll"):
            for path in sorted(Path(folder).rglob(ending)):
                return str(path)
    return ""


def vulkan_loader() -> tuple[str, ...]:
    """The Vulkan loader beside the driver that the environment names: a driver in software comes with its own."""
    loaders = (Path(driver).parent / "libvulkan.so.1" for driver in vulkan_drivers())
    return tuple(str(loader) for loader in loaders if loader.is_file())


def vulkan_drivers() -> list[str]:
    """The driver manifests that the environment names, as the Vulkan loader reads it."""
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES") or ""
    return [driver for driver in named.split(os.pathsep) if driver]
