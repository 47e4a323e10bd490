"""Memory of a device as its driver tells it."""

import pytest

from edgeprof.measure.device_memory import _of_process, taken
from edgeprof.providers.table import target

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("1234, 512\n99, 4096\n", 512 * MIB),
        ("1234, 512\n1234, 100\n", 612 * MIB),  # on two devices
        ("99, 4096\n", None),
        ("1234, [N/A]\n", None),  # where the driver does not tell processes apart
        ("", None),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver, or so\n", None),
    ],
)
def test_the_lines_of_nvidia_smi(told: str, expected: int | None) -> None:
    assert _of_process(told, 1234) == expected


@pytest.mark.parametrize("provider", ["cpu", "webgpu", "qnn"])
def test_where_nobody_tells_there_is_no_number(provider: str) -> None:
    assert taken(target(provider)) is None
