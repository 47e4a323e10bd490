"""`devices`: the execution providers that can run on this machine."""

from msgspec.structs import replace

from edgeprof.providers import discovery, installed_packages
from edgeprof.providers.exercised import exercised_on
from edgeprof.schema import Device


def devices(*, refresh: bool = False) -> list[Device]:
    """List the execution providers that edgeprof knows, and whether each can run here.

    >>> devices()[0].provider, devices()[0].status
    ('cpu', 'ready')

    Args:
        refresh: probe all of them again, in child processes, instead of returning cached results of this
            environment.
    """
    return [replace(device, exercised=exercised_on(device.provider)) for device in discovery.devices(refresh)]


def package_conflict() -> str:
    """Which installed onnxruntime packages overwrite each other, and the commands that fix it; "" where none do."""
    return installed_packages.conflict(installed_packages.installed())
