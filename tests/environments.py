"""Where the parts lie that stand for devices in the tests; the Makefile puts them there."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

_SCRIPTS = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
OPENVINO = ROOT / ".venv-openvino" / _SCRIPTS

_BROWSERS = (ROOT / ".swiftshader", Path("/usr/lib/chromium"), Path("/opt/google/chrome"))
_DRIVERS = [folder / "vk_swiftshader_icd.json" for folder in _BROWSERS if (folder / "libvk_swiftshader.so").is_file()]

SWIFTSHADER = {"VK_ICD_FILENAMES": str(_DRIVERS[0]), "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1"} if _DRIVERS else {}
"""Environment variables with which WebGPU runs on SwiftShader; empty where it is not there."""
