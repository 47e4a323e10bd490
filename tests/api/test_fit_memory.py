"""What fits a memory limit: where the search ends, and the real thing on an operator whose memory is known."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.api.fit import RESOLUTION, Search, fit
from edgeprof.errors import UsageError
from edgeprof.measure.limited_process import kind, taken
from edgeprof.schema import Fit, MemoryLimit, Precision, Subject, WeightsSource

MIB = 1 << 20


def searched(predicted: int, fits: int, most: int) -> tuple[int, int | None, int]:
    search = Search(predicted, most)
    while (amount := search.next()) is not None:
        search.tried[amount] = amount <= fits
    return search.low, search.high, len(search.tried)


@pytest.mark.parametrize(
    ("predicted", "fits", "most", "found"),
    [
        (100, 100, 512, (100, 101, 2)),  # the prediction holds: it, and the next one
        (512, 600, 512, (512, None, 1)),  # everything fits
        (0, 0, 512, (0, 1, 1)),  # nothing does
        (512, 0, 512, (0, 1, 8)),
        (640, 641, 1024, (640, 650, 2)),  # within a part in 64
    ],
)
def test_where_the_search_ends(predicted: int, fits: int, most: int, found: tuple[int, int | None, int]) -> None:
    assert searched(predicted, fits, most) == found


@pytest.mark.parametrize("predicted", [1, 30, 300, 1000])
def test_a_wrong_prediction_is_corrected(predicted: int) -> None:
    low, high, runs = searched(predicted, 200, 1024)
    assert low <= 200 < (high or 0) <= low + max(low // 64, 1)
    assert runs <= 16


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each token takes a MiB: x [1, tokens, 1] is expanded to [1, tokens, 2**18] and summed again."""
    file = tmp_path_factory.mktemp("wide") / "wide.onnx"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Expand", ["x", "shape"], ["wide"]),
            helper.make_node("ReduceSum", ["wide", "axes"], ["y"]),
        ],
        "wide",
        [value("x", TensorProto.FLOAT, [1, "sequence_length", 1])],
        [value("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array([1, 1, 1 << 18]), "shape"),
            numpy_helper.from_array(np.array([2]), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(file))
    return file


def test_what_fits_is_proven(wide: Path) -> None:
    """Of a limit 128 MiB above what the runtime takes, tokens of a MiB each: about 128.

    Of address space less are left, for threads; of a control group more, as it does not count pages of libraries that
    another process has read.
    """
    start, counted = taken(), kind()
    limit = (start.address_space_bytes if counted == "address space" else start.resident_bytes) + 128 * MIB
    (found,) = fit(str(wide), memory=limit, threads=1)
    assert found.exceeded is not None
    assert 32 < found.proven < found.exceeded <= found.proven + max(found.proven // RESOLUTION, 1)
    assert found.exceeded <= (128 if counted == "address space" else limit // MIB)
    peak = found.address_peak_bytes if counted == "address space" else found.peak_bytes
    assert peak is not None
    assert found.proven * MIB < peak
    assert found.sentence.endswith(f"and {found.exceeded} do not.")
    assert found.runs <= 16


@pytest.mark.parametrize(
    ("kind", "peak", "beyond"),
    [("cgroup", 100_000_000, "5.63 MB"), ("cgroup", 90 * MIB, ""), ("address space", 10**8, "")],
)
def test_a_peak_above_the_limit_is_explained(kind: Any, peak: int, beyond: str) -> None:
    found = Fit(
        subject=Subject(model="bert-tiny", precision=Precision(recipe="fp32"), weights=WeightsSource(kind="random")),
        phase="prefill",
        batch=1,
        unit="token",
        limit=MemoryLimit(bytes=90 * MIB, kind=kind),
        predicted=512,
        proven=512,
        exceeded=None,
        most=512,
        peak_bytes=peak,
        address_peak_bytes=None,
        runs=1,
    )
    assert found.uncounted.startswith(f"bert-tiny fp32, prefill: the peak is {beyond} above the limit, ") is bool(
        beyond
    )
    assert bool(found.uncounted) is bool(beyond)


def test_nothing_fits_below_the_runtime(wide: Path) -> None:
    with pytest.raises(UsageError, match="--memory 20 MiB is less than Python and onnxruntime take"):
        fit(str(wide), memory=20 * MIB)


def test_a_model_without_a_cache_cannot_decode(wide: Path) -> None:
    with pytest.raises(UsageError, match="has no KV cache"):
        fit(str(wide), memory=1 << 30, phase="decode")
