"""What a device that is not at hand would take, predicted from a probe of it or from a description on paper."""

from typing import Annotated, Literal

import msgspec

from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds
from edgeprof.schema.identity import Load, Precision
from edgeprof.schema.memory import PredictedMemory

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
Basis = Literal["probe", "on paper"]
Guess = Literal["size beyond the probe", "another operator stands in"]


class PaperDevice(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device described by a few numbers of a data sheet: a TOML file."""

    name: str
    gflops: Annotated[dict[str, Positive], msgspec.Meta(min_length=1)]  # peak of products by precision, 1 MAC = 2 FLOP
    gb_per_s: Positive  # bandwidth of memory
    memory_mb: Positive | None = None  # that a process may take; None: not told
    cache_mb: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0  # activations that fit are not counted as traffic
    node_us: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0  # that each node takes besides its work
    run_us: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0  # that each run takes besides its nodes


class Inferred(Record, frozen=True, kw_only=True):
    """Nodes whose time is not read between measured ones."""

    operator: str
    nodes: Count
    share: float  # of the predicted time
    why: Guess


class PredictedLatency(Record, frozen=True, kw_only=True):
    """Seconds of one run, at the best level of the device; and what is usual there."""

    best_s: Seconds
    low_s: Seconds | None = None  # interval of the best level; None: on paper, whose error is not known
    high_s: Seconds | None = None
    assumed: bool = False  # the interval is a guess: the error of such points was not measured
    usual_s: Seconds | None = None  # the median where visits differ as much as those of the probe; None: on paper
    run_s: Seconds  # what a run takes besides its nodes
    operators: dict[str, Seconds]  # the sum over all nodes, the longest first
    inferred: tuple[Inferred, ...] = ()  # the largest share first


class Prediction(Record, frozen=True, kw_only=True):
    """One point on one device."""

    model: str
    precision: Precision
    load: Load
    basis: Basis
    latency: PredictedLatency
    memory: PredictedMemory | None = None  # None: tensors whose size depends on data
    memory_low_bytes: Count | None = None  # interval of the peak; None: on paper, or as above
    memory_high_bytes: Count | None = None
    fits: bool | None = None  # whether the peak is within the memory of the device; None: one of them is not known


class Predictions(Record, frozen=True, kw_only=True):
    """The answer of `edgeprof predict`."""

    schema_version: int = SCHEMA_VERSION
    device: str
    basis: Basis
    provider: str = "cpu"
    threads: Count | None = None  # None: on paper
    memory_bytes: Count | None = None  # of the device; None: not told
    points: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()
