"""Where a measured peak differs from the predicted one: named by trials, not by guess.

One process runs the point as it is, one without the arena, one without repacked weights. Their differences, and the
pages of the model's files that the kernel counts, split the peak into parts that add up to it, as the prediction does.
"""

from __future__ import annotations

from typing import NamedTuple

from edgeprof import units
from edgeprof.analysis.memory_parts import measured_parts
from edgeprof.schema import MemoryPass, MemoryReading, PredictedMemory, Reading


class Part(NamedTuple):
    name: str
    measured_bytes: int
    predicted_bytes: int

    @property
    def residual_bytes(self) -> int:
        """What was measured beyond the prediction; negative where it is less."""
        return self.measured_bytes - self.predicted_bytes


def parts(reading: MemoryReading, predicted: PredictedMemory) -> list[Part]:
    """The parts of the peak, measured and predicted; each column adds up to its peak."""
    as_it_is, plain = reading.as_it_is, reading.without_prepacking
    found = measured_parts(as_it_is)
    live = min(measured_parts(reading.without_arena).working_bytes, found.working_bytes)
    stored = _unmapped(plain) - predicted.unpacked_bytes  # libraries, graph and nodes
    ran = as_it_is.memory_run_peak_bytes
    besides = ran - found.working_bytes - found.touched_bytes - as_it_is.memory_loaded_bytes  # code that runs touch
    return [
        Part("runtime and session", stored + besides, predicted.runtime_bytes + predicted.session_bytes),
        Part("weights in memory", _unmapped(as_it_is) - stored, predicted.weights_in_memory_bytes),
        Part("mapped weights", _mapped(as_it_is) + found.touched_bytes, predicted.weights_mapped_bytes),
        Part("live tensors", live, predicted.cache_bytes + predicted.activations_bytes),
        Part("arena", found.working_bytes - live, predicted.arena_bytes),
        Part("loading", max(as_it_is.memory_load_peak_bytes - ran, 0), predicted.peak_bytes - predicted.run_peak_bytes),
    ]


def sentence(one: MemoryPass) -> str:
    """The peak of a point against its prediction, and the part in which they differ most."""
    reading = one.outcome.reading
    if reading is None:
        return f"{one.key.label}: {one.outcome.status}: {one.outcome.error}"
    split = parts(reading, one.predicted)
    measured = sum(part.measured_bytes for part in split)
    most = max(split, key=lambda part: abs(part.residual_bytes))
    return (
        f"{one.key.label}: the peak is {units.size(measured)}, {units.size(one.predicted.peak_bytes)} predicted "
        f"({100 * (one.predicted.peak_bytes / measured - 1):+.1f} %); by trials they differ most in {most.name}: "
        f"{units.size(most.measured_bytes)}, {units.size(most.predicted_bytes)} predicted."
    )


def _mapped(reading: Reading) -> int:
    return reading.memory_loaded_mapped_bytes or 0


def _unmapped(reading: Reading) -> int:
    """Resident after loading, but for mapped weights."""
    return reading.memory_loaded_bytes - _mapped(reading)
