"""Execution providers, and the placement of graphs on them."""

from typing import Literal

from edgeprof.schema.base import Record
from edgeprof.schema.identity import ONNXRUNTIME

Kind = Literal["CPU", "GPU", "NPU"]


class Target(Record, frozen=True, kw_only=True):
    """An execution provider as a worker opens it, with the facts of its row of the table; or a user's own library."""

    provider: str = "cpu"  # name for --ep; of a baseline, its name
    runtime: str = ONNXRUNTIME  # that computes; a baseline is another one
    runtime_name: str = "CPUExecutionProvider"  # onnxruntime's
    kind: Kind = "CPU"
    library: str = ""  # of a plugin, to be registered with onnxruntime; "": built in
    plugin: str = ""  # Python module that contains the library; "": the user named the file
    options: dict[str, str] = {}
    defaults: dict[str, str] = {}  # options of every session on this provider
    preload: tuple[str, ...] = ()  # shared libraries to load first, visible to all
    precisions: tuple[str, ...] = ()  # recipes whose graphs it accepts; (): any, or unknown
    static: bool = False  # accepts only graphs without dynamic dimensions
    lacks: tuple[str, ...] = ()  # operators that it accepts only when they are decomposed into smaller ones
    asynchronous: bool = False  # a run returns before the device is done; node times are of dispatch
    software: str = ""  # the emulator of a device that reports a CPU instead of its kind; "": none
    emulated: bool = False  # software stands in for the device: it runs, but times are not meaningful
    device: str = ""  # as the runtime or the driver names it

    @property
    def ep_options(self) -> dict[str, str]:
        """The options that the user gave: those that are not defaults."""
        return {name: value for name, value in self.options.items() if self.defaults.get(name) != value}

    @property
    def is_cpu(self) -> bool:
        """Whether it is onnxruntime's own CPU provider, which runs every graph as it is."""
        return self.runtime_name == "CPUExecutionProvider"

    @property
    def is_baseline(self) -> bool:
        """Whether another runtime than onnxruntime computes."""
        return self.runtime != ONNXRUNTIME

    @property
    def custom_library(self) -> str:
        """The library that the user named; "" where the provider is built in or comes with an installed package."""
        return "" if self.plugin else self.library

    @property
    def host_memory(self) -> bool:
        """Whether it computes in host memory, which then contains all of its data."""
        return self.kind == "CPU" or self.emulated


CPU = Target()


class Device(Record, frozen=True, kw_only=True):
    """A line of `edgeprof devices`: a provider, and whether it can run on this machine."""

    provider: str
    kind: Kind
    status: Literal["ready", "no device", "not installed"]
    target: Target | None = None  # how to open it; set when ready
    device: str = ""
    vendor: str = ""
    emulated: bool = False
    static: bool = False
    precisions: tuple[str, ...] = ()
    runtime: str = ""  # range of onnxruntime versions that it requires
    reason: str = ""  # why it is not ready, as reported by the runtime
    install: str = ""
    docs: str = ""
    exercised: str = ""  # devices that `make hardware` ran it on; "": none


class ProviderShare(Record, frozen=True, kw_only=True):
    """The part of a graph that one provider runs."""

    provider: str  # "webgpu", "cpu"
    nodes: int
    macs: int | None  # None: its nodes could not be matched with counted nodes
    partitions: int


class LeftOperator(Record, frozen=True, kw_only=True):
    """Operators of one type that the requested provider left to the CPU provider."""

    operator: str
    nodes: int
    macs: int | None
    reason: str = ""  # as reported by the provider


class Placement(Record, frozen=True, kw_only=True):
    """The nodes of each provider, from onnxruntime's assignment and, independently, from a profile of one run."""

    placed: tuple[ProviderShare, ...]  # the requested provider first, even without nodes
    left: tuple[LeftOperator, ...] = ()
    copies: int = 0  # across the boundary between providers, in one run
    written_out: dict[str, int] = {}  # operators that were decomposed into smaller ones for this provider
    disagreement: str = ""  # how assignment and profile contradict each other

    @property
    def nodes_share(self) -> float:
        """The requested provider's share of all nodes, 0 to 1."""
        return self.placed[0].nodes / max(1, sum(part.nodes for part in self.placed))

    @property
    def macs_share(self) -> float | None:
        """The requested provider's share of all multiply-accumulates, 0 to 1; None: unknown."""
        macs = [part.macs for part in self.placed]
        if None in macs or not sum(part or 0 for part in macs):
            return None
        return (macs[0] or 0) / sum(part or 0 for part in macs)

    @property
    def share(self) -> float:
        """Its share of the MACs, or of the nodes where MACs are unknown."""
        return self.nodes_share if self.macs_share is None else self.macs_share

    @property
    def share_unit(self) -> Literal["MACs", "nodes"]:
        """The unit of `share`."""
        return "nodes" if self.macs_share is None else "MACs"


class Agreement(Record, frozen=True, kw_only=True):
    """The difference of a provider's outputs from those of the CPU provider with the original file."""

    max_abs_error: float
    max_rel_error: float  # largest difference over the largest value of the same output, the worst output
    cosine: float  # the smallest over the outputs
    tolerance: float  # of max_rel_error, for this precision
    output: str = ""  # the worst one

    @property
    def within(self) -> bool:
        return self.max_rel_error <= self.tolerance
