"""`edgeprof devices`: a line a provider, in a narrow terminal and in a wide one, and as JSON."""

import pytest
from command import Command

from edgeprof.providers.table import PROVIDERS


@pytest.mark.parametrize("columns", [80, 200])
def test_a_line_a_provider_fits_the_terminal(swiftshader: None, edgeprof: Command, columns: int) -> None:
    done = edgeprof("devices", COLUMNS=str(columns))
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["provider", "kind", "status"]
    assert [line.split()[0] for line in lines[1 : 1 + len(PROVIDERS)]] == [row.name for row in PROVIDERS]
    assert max(map(len, lines)) <= columns
    assert ("precisions" in lines[0]) == (columns == 200)
    (webgpu,) = (line for line in lines if line.startswith("webgpu "))
    assert "ready, emulated" in webgpu and "Vulkan device in software" in webgpu


def test_what_is_read_by_a_program_is_whole(swiftshader: None, edgeprof: Command) -> None:
    done = edgeprof("devices")
    assert "…" not in done.out
    assert "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt" in done.out
    listed = edgeprof("devices", "--json").json
    assert [device["provider"] for device in listed] == [row.name for row in PROVIDERS]
    assert {device["status"] for device in listed} <= {"ready", "no device", "not installed"}


def test_the_library_tells_the_same(swiftshader: None, edgeprof: Command) -> None:
    from edgeprof import devices

    assert [device.status for device in devices()] == [one["status"] for one in edgeprof("devices", "--json").json]
