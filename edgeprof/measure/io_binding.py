"""Inputs and outputs bound to a session before it runs, in the device's own memory where it has one.

Strings, sequences and optional values cannot be bound (onnxruntime 1.32). A graph with such an input is fed anew in
every run, by `InferenceSession.run`, and its outputs are copied to the host: no device runs such a graph.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeprof import kv_cache
from edgeprof.inputs import tensors
from edgeprof.measure import ort_values, sampling
from edgeprof.schema import InputValue, Target

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding, OrtMemoryInfo, OrtValue

HOST = "Cpu"
"""onnxruntime's name for memory of the host."""

BUILT_IN = {"Cuda": "cuda", "DML": "dml", "Cann": "cann"}
"""Memory of providers that are part of onnxruntime: its name, and the device type that allocates it."""


class Binding:
    """What a session's runs read and write.

    On the CPU provider the first run allocates the outputs, and all that follow write to them again. A device with
    memory of its own holds inputs before the first run, and outputs after it, so that nothing is copied between.
    """

    def __init__(
        self,
        session: "InferenceSession",
        target: Target,
        inputs: Sequence[InputValue],
        given: Mapping[str, Any] | None = None,
        shared_tokens: int = 0,
    ) -> None:
        """
        Args:
            given: arrays by name that replace the values described.
            shared_tokens: tokens of the buffers that are past and present of a KV cache at once; 0: they are two.
        """
        self.session = session
        self.target = target
        self.bound: IOBinding = session.io_binding()
        self.inputs: dict[str, OrtValue] = {}
        self.fed: dict[str, Any] = {}
        self.unbound: list[Any] = []  # outputs of the last run, where they are not bound
        self.shared_tokens = shared_tokens
        kinds = {value.name: value.type for value in session.get_inputs()}
        for value in inputs:
            array = given[value.name] if given and value.name in given else tensors.make(value)
            if shared_tokens and kv_cache.is_past(value.name):
                array = kv_cache.with_room(array, shared_tokens)
            if ort_values.bindable(kinds.get(value.name, "")):
                self._bind_input(value.name, array)
            else:
                self.fed[value.name] = array
        self.bind_outputs()

    def _bind_input(self, name: str, array: Any) -> None:
        value = ort_values.from_array(array)
        if place := _places(self.session, self.target, "input").get(name):
            value = self._moved(value, place)
        self.bound.bind_ortvalue_input(name, value)
        self.inputs[name] = value

    def bind_outputs(self) -> None:
        """Let the next run allocate outputs, in host memory; a shared buffer is written where it is read."""
        for output in self.session.get_outputs():
            cache = self._cache_of(output.name) if self.shared_tokens else None
            if cache is None:
                self.bound.bind_output(output.name)
            else:
                self.bound.bind_ortvalue_output(output.name, cache)

    def settle(self, in_place: bool = False) -> None:
        """After a first run, bind outputs to the memory that later runs write to.

        Args:
            in_place: a KV cache of fixed size is written where it was read.
        """
        places = _places(self.session, self.target, "output")
        if self.fed or not (places or in_place):
            return
        for output, value in zip(self.session.get_outputs(), self.bound.get_outputs(), strict=True):
            cache = self._cache_of(output.name) if in_place or self.shared_tokens else None
            if cache is not None and cache.shape() == value.shape():
                self.bound.bind_ortvalue_output(output.name, cache)
            elif place := places.get(output.name):
                self.bound.bind_ortvalue_output(output.name, self._empty(value, place))

    def first_run(self, in_place: bool = False) -> float:
        """Run once, and bind outputs for later runs. Returns the seconds that the run took."""
        start = time.perf_counter()
        self.run()
        self.wait()
        seconds = time.perf_counter() - start
        self.settle(in_place)
        return seconds

    def run(self) -> None:
        self._run_once()()

    def _run_once(self) -> sampling.Run:
        if not self.fed:
            return partial(self.session.run_with_iobinding, self.bound)  # no Python function in the timed loop
        feeds = {**self.inputs, **self.fed}

        def feed() -> None:
            self.unbound = self.session.run(None, feeds)

        return feed

    def outputs(self) -> dict[str, Any]:
        """Outputs of the last run by name, on the host: an array, a list for a sequence, or a dict for a map."""
        values = self.unbound if self.fed else self._copied()
        return dict(zip([output.name for output in self.session.get_outputs()], values, strict=True))

    def _copied(self) -> list[Any]:
        values = self.bound.get_outputs()
        copied: list[Any]
        if all(map(ort_values.copied_by_binding, values)):
            copied = self.bound.copy_outputs_to_cpu()
        elif all(value.is_tensor() for value in values):
            copied = [ort_values.to_array(value) for value in values]
        else:  # sequences and maps, perhaps of strings: only `run` returns them
            copied = self.session.run(None, self.inputs)
        return copied

    def wait(self) -> None:
        """Wait until the device is done with the last run."""
        if self.target.asynchronous and not self.fed:
            self._fence()()

    def runner(self) -> sampling.Run:
        """A function that makes one run, and returns when the device is done."""
        run = self._run_once()
        if not self.target.asynchronous or self.fed:
            return run
        wait = self._fence()

        def run_and_wait() -> None:
            run()
            wait()

        return run_and_wait

    def _fence(self) -> Callable[[], None]:
        """A function that waits until the device is done.

        Some providers only submit work in `synchronize_outputs`. A device works through its queue in order, so that
        one number that is fetched through it arrives after everything before.
        """
        place = next(iter(_places(self.session, self.target, "output").values()), None)
        if place is None or not self.target.library:
            synchronize: Callable[[], None] = self.bound.synchronize_outputs
            return synchronize
        import numpy as np
        from onnxruntime import OrtValue, copy_tensors

        here = OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32))
        there = self._moved(here, place)

        def wait() -> None:
            self.bound.synchronize_outputs()
            copy_tensors([there], [here])

        return wait

    def warm_up(self, until: Callable[[sampling.Run], int] = sampling.warm_up) -> tuple[sampling.Run, int]:
        """The function that makes a run from the second on, and the number of runs until they were steady.

        onnxruntime writes into the outputs that the previous run left in the binding, and so allocates none. Where
        their shape is random (sampling) it refuses to, and a sequence keeps what earlier runs put in (1.32); then they
        are released before each run, and allocated anew.
        """
        run = self.runner()

        def run_anew() -> None:
            self.bind_outputs()
            run()

        if not self.fed and not all(output.type.startswith("tensor(") for output in self.session.get_outputs()):
            return run_anew, until(run_anew)
        try:
            return run, until(run)
        except RuntimeError:
            return run_anew, until(run_anew)

    def _cache_of(self, present: str) -> "OrtValue | None":
        """The input that holds the cache which an output continues."""
        return next((self.inputs[name] for name in kv_cache.past_of(present) if name in self.inputs), None)

    def _moved(self, value: "OrtValue", place: "OrtMemoryInfo") -> "OrtValue":
        from onnxruntime import OrtValue, copy_tensors

        if not self.target.library:
            return OrtValue.ortvalue_from_numpy(value.numpy(), BUILT_IN[place.name], place.device_id)
        moved = self._empty(value, place)
        copy_tensors([value], [moved])
        return moved

    def _empty(self, like: "OrtValue", place: "OrtMemoryInfo") -> "OrtValue":
        from onnxruntime import OrtValue

        where: dict[str, Any] = {"memory_info": place}
        if not self.target.library:
            where = {"device_type": BUILT_IN[place.name], "device_id": place.device_id}
        return OrtValue.ortvalue_from_shape_and_type(like.shape(), like.element_type(), **where)


def _places(session: "InferenceSession", target: Target, of: str) -> "dict[str, OrtMemoryInfo]":
    """Device memory that a session reads its inputs from or writes its outputs to, by name; host memory is left out."""
    memory_infos: Any = getattr(session, f"get_{of}_memory_infos", None)  # since onnxruntime 1.23
    if target.is_cpu or memory_infos is None:
        return {}
    values = session.get_inputs() if of == "input" else session.get_outputs()
    infos = {value.name: info for value, info in zip(values, memory_infos(), strict=True) if info.name != HOST}
    return {name: info for name, info in infos.items() if target.library or info.name in BUILT_IN}
