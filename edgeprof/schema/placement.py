"""Where a model can run, and where it did."""

from typing import Literal

from edgeprof.schema.base import Record

Kind = Literal["CPU", "GPU", "NPU"]


class Target(Record, frozen=True, kw_only=True):
    """An execution provider as a child opens it, with the facts of its row of the table; or a user's own library."""

    provider: str = "cpu"  # what --ep takes
    runtime_name: str = "CPUExecutionProvider"  # onnxruntime's
    kind: Kind = "CPU"
    library: str = ""  # of a plugin, to be registered with onnxruntime; "": built in
    plugin: str = ""  # Python module that brings the library; "": the user named its file
    options: dict[str, str] = {}
    defaults: dict[str, str] = {}  # of the options, those that every session on this provider gets
    preload: tuple[str, ...] = ()  # shared libraries to load first, visible to all
    precisions: tuple[str, ...] = ()  # recipes whose graphs it accepts; (): any, or not known
    static: bool = False  # accepts only graphs without dynamic dimensions
    lacks: tuple[str, ...] = ()  # operators that it accepts only when they are decomposed into smaller ones
    asynchronous: bool = False  # a run returns before the device is done; node times are of dispatch
    software: str = ""  # what stands for the device if it reports a CPU instead of its kind; "": nothing does
    emulated: bool = False  # software stands for the device: it shows that the model runs, not how fast
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
    def custom_library(self) -> str:
        """The library that the user named; "" where the provider is built in, or an installed package brings it."""
        return "" if self.plugin else self.library

    @property
    def host_memory(self) -> bool:
        """Whether it computes in the host's memory, which then holds everything."""
        return self.kind == "CPU" or self.emulated


CPU = Target()


class Device(Record, frozen=True, kw_only=True):
    """A line of `edgeprof devices`: a provider, and whether it computes here."""

    provider: str
    kind: Kind
    status: Literal["ready", "no device", "not installed"]
    target: Target | None = None  # how to open it; there when it is ready
    device: str = ""
    vendor: str = ""
    emulated: bool = False
    static: bool = False
    precisions: tuple[str, ...] = ()
    runtime: str = ""  # range of onnxruntime versions it needs
    reason: str = ""  # why it is not ready, as the runtime gave it
    install: str = ""
    docs: str = ""


class ProviderShare(Record, frozen=True, kw_only=True):
    """What one provider runs of a graph."""

    provider: str  # "webgpu", "cpu"
    nodes: int
    macs: int | None  # None: its nodes could not be matched with what was counted
    partitions: int


class LeftOperator(Record, frozen=True, kw_only=True):
    """Operators of one type that the requested provider left to the CPU provider."""

    operator: str
    nodes: int
    macs: int | None
    reason: str = ""  # as the provider gave it


class Placement(Record, frozen=True, kw_only=True):
    """Which provider runs what, from onnxruntime's assignment and, independently, from a profile of one run."""

    placed: tuple[ProviderShare, ...]  # the requested provider first, also where it runs nothing
    left: tuple[LeftOperator, ...] = ()
    copies: int = 0  # across the boundary between providers, in one run
    written_out: dict[str, int] = {}  # operators that were decomposed into smaller ones for this provider
    disagreement: str = ""  # how assignment and profile contradict each other

    @property
    def nodes_share(self) -> float:
        """The requested provider's share of all nodes, 0 to 1."""
        return self.placed[0].nodes / max(1, sum(one.nodes for one in self.placed))

    @property
    def macs_share(self) -> float | None:
        """The requested provider's share of all multiply-accumulates, 0 to 1; None: not known."""
        macs = [one.macs for one in self.placed]
        if None in macs or not sum(one or 0 for one in macs):
            return None
        return (macs[0] or 0) / sum(one or 0 for one in macs)

    @property
    def share(self) -> float:
        """Its share of the MACs; where those are not known, of the nodes."""
        return self.nodes_share if self.macs_share is None else self.macs_share

    @property
    def share_unit(self) -> Literal["MACs", "nodes"]:
        """What `share` is of."""
        return "nodes" if self.macs_share is None else "MACs"


class Agreement(Record, frozen=True, kw_only=True):
    """How far a provider's outputs are from what the CPU provider makes of the original file."""

    max_abs_error: float
    max_rel_error: float  # largest difference over the largest value of the same output, the worst output
    cosine: float  # the smallest over the outputs
    tolerance: float  # of max_rel_error, for this precision
    output: str = ""  # the worst one

    @property
    def within(self) -> bool:
        return self.max_rel_error <= self.tolerance
