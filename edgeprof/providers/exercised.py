"""What each provider was run on: the reports of `make hardware`, which are part of the package."""

from functools import cache
from pathlib import Path

from edgeprof.schema import HardwareReport, decode

FOLDER = Path(__file__).with_name("hardware")


@cache
def reports() -> tuple[HardwareReport, ...]:
    """All that are kept, in the order of their file names."""
    return tuple(decode(file.read_bytes(), HardwareReport, str(file)) for file in sorted(FOLDER.glob("*.json")))


def exercised_on(provider: str) -> str:
    """The devices on which a provider ran, "" where it ran on none.

    >>> exercised_on("cuda-of-2040")
    ''
    """
    return ", ".join(dict.fromkeys(report.on for report in reports() if report.device.provider == provider))
