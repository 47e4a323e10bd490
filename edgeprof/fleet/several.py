"""Ask several devices at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from edgeprof.errors import EdgeprofError

T = TypeVar("T")
R = TypeVar("R")


def of_each(devices: Sequence[T], asked: Callable[[T], R]) -> list[R]:
    """The results of a function of each device, called in threads at the same time, in the order of the devices.

    Raises:
        EdgeprofError: the first that one of them raised, once all have ended.
    """
    results: dict[int, R] = {}
    problems: dict[int, Exception] = {}

    def ask(index: int) -> None:
        try:
            results[index] = asked(devices[index])
        except Exception as problem:  # noqa: BLE001  (raised below, in the thread that waits)
            problems[index] = problem

    threads = [threading.Thread(target=ask, args=(index,), daemon=True) for index in range(len(devices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, problem in sorted(problems.items(), key=lambda pair: (not isinstance(pair[1], EdgeprofError), pair[0])):
        raise problem
    return [results[index] for index in range(len(devices))]
