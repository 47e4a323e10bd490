"""The machine of a run, and the devices of a run over several."""

from edgeprof.schema.base import SCHEMA_VERSION, Count, Record


class Machine(Record, frozen=True, kw_only=True):
    """The machine of a run. `machine_id` is a digest of everything that must agree for times to be comparable."""

    schema_version: int = SCHEMA_VERSION
    machine_id: str
    cpu: str
    cpu_features: tuple[str, ...]
    architecture: str
    cores_allowed: Count
    governor: str  # "unknown" where the kernel does not report it
    memory_bytes: Count
    memory_limit_bytes: Count | None  # cgroup limit
    os: str
    versions: dict[str, str]

    @classmethod
    def unrecorded(cls, machine_id: str) -> "Machine":
        """The machine of measurements that were copied without its record: only its id is known."""
        return cls(
            machine_id=machine_id,
            cpu="",
            cpu_features=(),
            architecture="",
            cores_allowed=0,
            governor="unknown",
            memory_bytes=0,
            memory_limit_bytes=None,
            os="",
            versions={},
        )


class Host(Record, frozen=True, kw_only=True):
    """A device of a run over several."""

    name: str  # as in --on
    machine: Machine
    packages: dict[str, str] = {}  # name -> version, of what measuring needs


class Machines(Record, frozen=True, kw_only=True):
    """The devices of a run over several: machines.json."""

    schema_version: int = SCHEMA_VERSION
    hosts: tuple[Host, ...]
