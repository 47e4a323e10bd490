"""Which devices a model can run on here."""

from edgeprof.providers import discovery
from edgeprof.schema import Device


def devices(*, refresh: bool = False) -> list[Device]:
    """Every execution provider edgeprof knows, and whether it computes here.

    Args:
        refresh: ask all of them again, in child processes; otherwise what is remembered of this environment is told.
    """
    return discovery.devices(refresh)
