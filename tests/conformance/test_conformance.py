"""A sample of what `make conformance` tries: the models that differ most."""

from collections.abc import Iterator

import pytest

from .commands import COMMANDS, NOT_LOADED
from .models import examples, sample
from .worker import Worker

SIZE = 120

QUANTIZED = "node/test_gemm_transposeB"
"""Few of them are of use to int8: this one is."""

VECTOR_IN_RANGE = {"node/test_affine_grid_2d_expanded", "node/test_affine_grid_2d_align_corners_expanded"}
"""A Range takes a vector of one number, against its definition. onnxruntime notices once it knows which branch runs."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as started:
        yield started


@pytest.fixture(scope="module")
def numbers() -> dict[str, int]:
    """Where each model of the sample stands among all."""
    order = {one.name: number for number, one in enumerate(examples())}
    return {name: order[name] for name in (*sample(SIZE), QUANTIZED)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_model_is_answered_or_refused_in_a_sentence(
    command: str, worker: Worker, numbers: dict[str, int]
) -> None:
    outcomes = {name: worker.ask(command, number) for name, number in numbers.items()}
    wrong = {
        name: message
        for name, (outcome, message) in outcomes.items()
        if outcome == "wrong" or (message.startswith(NOT_LOADED) and name not in VECTOR_IN_RANGE)
    }
    assert not wrong
    assert len(outcomes) == SIZE + 1
    assert any(outcome == "answered" for outcome, _ in outcomes.values())
    assert all("\n" not in message.strip() for _, message in outcomes.values())
