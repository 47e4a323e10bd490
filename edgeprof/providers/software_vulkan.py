"""Vulkan drivers in software: with one of them a GPU provider runs where there is no GPU. They have to be enabled."""

import json
import os
import shlex
from pathlib import Path

from edgeprof.providers.table import vulkan_drivers

ALLOWED = "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER"

FOLDERS = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
)
"""Where browsers and packages install them."""

PATTERNS = ("vk_swiftshader*.json", "lvp_icd*.json")
"""Manifests of SwiftShader, and of Mesa's lavapipe."""


def next_step() -> str:
    """The variables that enable a driver that is installed here; empty where none is, or where they are set."""
    if os.environ.get(ALLOWED) and vulkan_drivers():
        return ""
    found = next((file for folder in FOLDERS for file in _manifests(Path(folder))), None)
    if found is None:
        return ""
    return f"to run it in software, set VK_ICD_FILENAMES={shlex.quote(str(found))} {ALLOWED}=1"


def _manifests(folder: Path) -> list[Path]:
    files = (file for pattern in PATTERNS for file in sorted(folder.glob(pattern)))
    return [file for file in files if _has_library(file)]


def _has_library(manifest: Path) -> bool:
    """Whether the driver is there; a bare name is left to the search of the Vulkan loader."""
    try:
        library = str(json.loads(manifest.read_bytes())["ICD"]["library_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return "/" not in library or (manifest.parent / library).is_file()
