"""Inputs and outputs of a session: written where they were before, and a cache where it was read."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from toys import save, x

from edgeprof.measure.binding import Binding
from edgeprof.providers.session import open_session
from edgeprof.providers.table import here, target
from edgeprof.schema import CPU, InputValue, Target

SLOTS, WIDTH = 4, 8
PAST = InputValue(name="past_key_values.0.key", dtype="float32", shape=(1, 1, SLOTS, WIDTH), fill="normal")


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """x is written into the last slot of the cache; y is the sum over the slots."""
    last = np.arange(SLOTS).reshape(1, 1, SLOTS, 1) == SLOTS - 1
    return save(
        tmp_path / "decoder.onnx",
        [
            helper.make_node("Where", ["last", "x", PAST.name], ["present.0.key"]),
            helper.make_node("ReduceSum", ["present.0.key", "axis"], ["y"]),
        ],
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, WIDTH]),
            helper.make_tensor_value_info(PAST.name, TensorProto.FLOAT, PAST.shape),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, WIDTH]),
            helper.make_tensor_value_info("present.0.key", TensorProto.FLOAT, PAST.shape),
        ],
        [numpy_helper.from_array(last, "last"), numpy_helper.from_array(np.array([2]), "axis")],
    )


@pytest.mark.parametrize("on", ["cpu", "qnn"])
def test_a_cache_is_written_where_it_was_read(decoder: Path, on: str) -> None:
    if on == "qnn" and here() not in ("linux-x86_64", "windows-x86_64"):
        pytest.skip("QNN's emulator is for x86")
    where: Target = target(on)
    binding = Binding(open_session(str(decoder), where), where, (x(1, 1, 1, WIDTH), PAST))
    binding.run()
    y, present = (output.copy() for output in binding.bound.copy_outputs_to_cpu())
    cache = binding.inputs[PAST.name]
    before = cache.numpy().copy()
    binding.settle(in_place=True)
    binding.run()
    np.testing.assert_array_equal(binding.bound.copy_outputs_to_cpu()[0], y)
    np.testing.assert_array_equal(cache.numpy(), present)
    assert (before[0, 0, SLOTS - 1] != present[0, 0, SLOTS - 1]).all()
    np.testing.assert_allclose(y[0, 0, 0], present[0, 0].sum(0), atol=0.01)  # QNN computes in fp16


def test_a_cache_that_grows_stays_as_it_was(decoder: Path) -> None:
    binding = Binding(open_session(str(decoder)), CPU, (x(1, 1, 1, WIDTH), PAST))
    cache = binding.inputs[PAST.name]
    before = cache.numpy().copy()
    binding.run()
    binding.settle()
    binding.run()
    np.testing.assert_array_equal(cache.numpy(), before)


def test_the_runs_to_come_write_where_the_first_did(toy: Path) -> None:
    binding = Binding(open_session(str(toy)), CPU, (x(1, 2, 8),))
    binding.run()
    (first,) = binding.bound.get_outputs()
    run, count = binding.warm_up(lambda run: [run(), run()].count(None))
    run()
    (last,) = binding.bound.get_outputs()
    assert (count, last.data_ptr()) == (2, first.data_ptr())
