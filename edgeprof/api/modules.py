"""Which modules of a model take the time that its operators take: the profile of a run joined with a count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from edgeprof import counting
from edgeprof.analysis.modules import module_times
from edgeprof.inputs.tensors import make
from edgeprof.measure.schedule import Job
from edgeprof.schema import OperatorPass
from edgeprof.stages.optimize import graph_as_run

if TYPE_CHECKING:
    from onnx import ModelProto


class Modules:
    """Adds modules to passes; each file is optimized once."""

    def __init__(self) -> None:
        self._graphs: dict[str, ModelProto] = {}

    def added(self, profiled: OperatorPass, job: Job) -> OperatorPass:
        """The pass with its modules in place of its nodes; of another provider, whose nodes are its own, without."""
        reading = profiled.outcome.reading
        if reading is None:
            return profiled
        outcome = replace(profiled.outcome, reading=replace(reading, nodes=()))
        modules = module_times(reading.nodes, self.works(job)) if job.target.is_cpu else ()
        return replace(profiled, modules=modules, outcome=outcome)

    def works(self, job: Job) -> list[counting.NodeWork]:
        """What every node of the graph that runs computes and moves, at the sizes of a point."""
        path = job.graph.path
        if path not in self._graphs:
            self._graphs = {path: graph_as_run(path)}  # points of one file are neighbours
        shapes = {value.name: value.shape for value in job.inputs}
        values = {value.name: make(value) for value in job.inputs if value.fill == "value"}
        return counting.by_node(self._graphs[path], shapes, values)
