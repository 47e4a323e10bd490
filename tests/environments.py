"""Where the parts lie that stand for devices in the tests; the Makefile puts them there, but for the wheel's."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]

_SCRIPTS = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
OPENVINO = ROOT / ".venv-openvino" / _SCRIPTS

_BROWSERS = (ROOT / ".swiftshader", Path("/usr/lib/chromium"), Path("/opt/google/chrome"))
_DRIVERS = [folder / "vk_swiftshader_icd.json" for folder in _BROWSERS if (folder / "libvk_swiftshader.so").is_file()]

SWIFTSHADER = {"VK_ICD_FILENAMES": str(_DRIVERS[0]), "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1"} if _DRIVERS else {}
"""Environment variables with which WebGPU runs on SwiftShader; empty where it is not there."""


def install_wheel(folder: Path) -> Path:
    """Build the wheel and install it as on a device, with what a fleet needs; the folder of the programs."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--no-compile", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, f"{wheel}[fleet]"], check=True, capture_output=True)
    return programs
