"""What every engine of a baseline does: load at construction, then feed, run, and hand over its outputs."""

from __future__ import annotations

import contextlib
import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from edgeprof.baselines.table import of_target
from edgeprof.errors import EdgeprofError, first_line
from edgeprof.measure import sampling
from edgeprof.schema import InputValue, Request, Target


class Engine(ABC):
    """A model that another runtime has loaded: a `measure.timed_visit.Model`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        with self.running():
            self.load()

    @classmethod
    @abstractmethod
    def start(cls) -> None:
        """Import the runtime, and what else is in memory before any model is."""

    @classmethod
    def compared(cls, inputs: tuple[InputValue, ...]) -> tuple[InputValue, ...]:
        """The inputs with which its result is compared with onnxruntime's: those of the point, or others."""
        return inputs

    @abstractmethod
    def load(self) -> None:
        """Load the model."""

    @abstractmethod
    def feed(self) -> None:
        """Create what its runs need."""

    @abstractmethod
    def run(self) -> object:
        """Make one run."""

    @abstractmethod
    def outputs(self) -> dict[str, Any]:
        """Make one run, and return its outputs as arrays, by their names in the graph."""

    def active(self) -> tuple[str, ...]:
        return (self.request.target.device,)

    def device_bytes(self) -> int | None:
        return None  # it computes in host memory

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within it, whatever the runtime raises becomes an EdgeprofError."""
        try:
            yield
        except (EdgeprofError, MemoryError):
            raise
        except Exception as problem:  # runtimes raise every kind there is
            name = self.request.target.provider
            raise EdgeprofError(f"{name} does not run {self.request.model}: {first_line(problem)}.") from problem

    def first_run(self) -> float:
        start = time.perf_counter()
        self.run()
        return time.perf_counter() - start

    def warm_up(self) -> tuple[sampling.Run, int]:
        return self.run, sampling.warm_up(self.run)


def engine_of(target: Target) -> type[Engine]:
    """The engine of a baseline, started."""
    module, _, name = of_target(target).engine.partition(":")
    engine: type[Engine] = getattr(importlib.import_module(module), name)
    engine.start()
    return engine
