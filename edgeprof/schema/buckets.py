"""Static lengths chosen for requests of many lengths."""

from typing import Literal

from edgeprof.schema.base import Record
from edgeprof.schema.identity import Phase
from edgeprof.schema.models import StaticGraph


class Bucket(Record, frozen=True, kw_only=True):
    """A static length and the requests that run at it: those that fit it and no shorter one."""

    length: int
    requests: int
    cost: float  # of one run, in the unit of its Buckets


class Buckets(Record, frozen=True, kw_only=True):
    """The lengths with the least waste, shortest first (`edgeprof.analysis.buckets`), and the cost of a request."""

    variant: str
    precision: str
    phase: Phase
    batch: int
    unit: Literal["s", "MACs"]
    basis: str  # source of the costs, as text
    requests: int
    buckets: tuple[Bucket, ...]
    mean_cost: float
    mean_cost_own: float  # with every request at its own length
    mean_cost_single: float  # with all requests at the longest length
    notes: tuple[str, ...] = ()
    static: tuple[StaticGraph, ...] = ()  # graphs written for these lengths

    @property
    def waste(self) -> float:
        """Cost added by padding, relative to requests at their own lengths: 0.1 is 10 %."""
        return self.mean_cost / self.mean_cost_own - 1

    @property
    def single_ratio(self) -> float:
        """The cost with one length for all requests, relative to these buckets."""
        return self.mean_cost_single / self.mean_cost
