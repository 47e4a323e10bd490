"""Memory: limits, and what is predicted of a point."""

from typing import Literal

from edgeprof import units
from edgeprof.schema.base import Count, Record

LimitKind = Literal["cgroup", "address space"]

WINDOW_BYTES = 1 << 16
"""What Linux maps around a byte of a file that is read (fault_around_bytes), of one in small pages."""


class MemoryLimit(Record, frozen=True, kw_only=True):
    """The limit that a measuring process ran under (`edgeprof.measure.limited_process`)."""

    bytes: Count
    kind: LimitKind

    @property
    def counted(self) -> str:
        """What counts against it."""
        return "memory" if self.kind == "cgroup" else "address space"

    @property
    def text(self) -> str:
        """ "512 MiB of address space" """
        return f"{units.limit(self.bytes)} of {self.counted}"


class RuntimeMemory(Record, frozen=True, kw_only=True):
    """What a measuring process of this machine takes without a model: a reading (`measure.runtime_memory`)."""

    loaded_bytes: Count
    run_bytes: Count  # runs touch code that loading does not
    window_bytes: Count = WINDOW_BYTES  # of a mapped file, that come into memory when one is read


class PredictedMemory(Record, frozen=True, kw_only=True):
    """Resident memory predicted from graph and file, part by part, on onnxruntime's CPU provider.

    Only `runtime_bytes` is a reading: of a process of this machine that measures a graph without weights.
    """

    runtime_bytes: Count  # interpreter and libraries, their code included
    session_bytes: Count  # graph and nodes
    weights_mapped_bytes: Count  # pages of data files that loading or the runs read
    weights_beside_bytes: Count = 0  # of those, what no lookup reads: mapped with its rows, in large pages
    weights_copied_bytes: Count  # in memory: stored in the .onnx file, or computed from other weights
    weights_packed_bytes: Count  # repacked for the kernels of products
    weights_kept_bytes: Count = 0  # freed while loading, but not returned to the system
    cache_bytes: Count  # KV cache that a run reads
    activations_bytes: Count  # the most other tensors alive at once, inputs and outputs included
    arena_bytes: Count  # what the runtime's allocator holds beyond tensors alive at once
    load_peak_bytes: Count  # the most while the session is created
    unpacked_bytes: Count = 0  # weights in memory if kernels repacked none: what a trial without that holds

    @property
    def run_peak_bytes(self) -> int:
        """The most in runs: all parts together."""
        return self.runtime_bytes + self.session_bytes + self.weights_bytes + self.working_bytes

    @property
    def working_bytes(self) -> int:
        """What runs take on top of what is loaded."""
        return self.cache_bytes + self.activations_bytes + self.arena_bytes

    @property
    def weights_bytes(self) -> int:
        return self.weights_mapped_bytes + self.weights_in_memory_bytes

    @property
    def weights_in_memory_bytes(self) -> int:
        """Of weights, what is not mapped: the process needs memory of its own for it."""
        return self.weights_copied_bytes + self.weights_packed_bytes + self.weights_kept_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that the process takes, loading or running."""
        return max(self.load_peak_bytes, self.run_peak_bytes)

    @property
    def least_peak_bytes(self) -> int:
        """The same where the system keeps the file in small pages, as it does of one that was copied in small parts."""
        return max(self.load_peak_bytes, self.run_peak_bytes - self.weights_beside_bytes)
