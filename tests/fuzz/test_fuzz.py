"""Whatever a file holds and whoever named its axes: an answer, or one of edgeprof's own errors."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import damage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprof.errors import UnknownSizes, UsageError
from edgeprof.inputs import LoadRequest, fill, resolve, signature
from edgeprof.schema import Phase, TensorSpec
from edgeprof.symbols import evaluate, meaning, names_in

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Valid files to damage."""
    built = tmp_path_factory.mktemp("fuzz")
    subprocess.run([sys.executable, CASES / "make_cases.py", built], check=True)
    yield built


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_files_and_random_graphs_in_a_gigabyte(seed: int, folder: Path) -> None:
    """About half can be answered: a flipped bit of a weight or a name changes nothing that counts."""
    done = subprocess.run(
        [sys.executable, Path(damage.__file__), folder, str(seed), "500"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answered = int(done.stdout.split()[0])
    assert 100 < answered < 400


@settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
def test_graphs_of_random_nodes(chance: Random, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "random.onnx"
    file.write_bytes(damage.random_graph(chance))
    damage.answer(file)


# --- sizes ---------------------------------------------------------------------------------------------

SYMBOLS = [
    "",
    "batch",
    "N",
    "seq",
    "s77",
    "past_sequence_length",
    "past + 1",
    "s1 + s2",
    "floor(n/2)",
    "total",
    "h",
    "?!",
    "a b",
]
NAMES = [
    "input_ids",
    "attention_mask",
    "position_ids",
    "past_key_values.0.key",
    "x",
    "pixel_values",
    "input_features",
    "é:0",
]
dims = st.lists(st.one_of(st.sampled_from(SYMBOLS), st.integers(0, 9)), max_size=5).map(tuple)
specs = st.lists(
    st.builds(
        TensorSpec,
        name=st.sampled_from(NAMES),
        dtype=st.sampled_from(["int64", "float32", "bool", "float16", "string", "int4"]),
        dims=dims,
    ),
    max_size=4,
    unique_by=lambda spec: spec.name,
)
sizes = st.one_of(st.none(), st.integers(1, 9))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(specs=specs, phase=st.sampled_from(["prefill", "decode"]), batch=sizes, length=sizes)
def test_axes_of_any_name_are_sized_or_requested(
    specs: list[TensorSpec], phase: Phase, batch: int | None, length: int | None
) -> None:
    """What is suggested works: with it nothing is asked for again."""
    accepted, load = signature(specs), LoadRequest(phase=phase, batch=batch, length=length)
    try:
        result = resolve(accepted, load)
    except UnknownSizes as problem:
        pairs = [value.rpartition("=") for option, value in problem.options if option == "--dim"]
        summary = {name: int(size) for name, _, size in pairs}
        length = length or next((int(value) for option, value in problem.options if option == "--seq"), None)
        try:
            result = resolve(accepted, LoadRequest(phase=phase, batch=batch, length=length), dims=summary)
        except UnknownSizes as again:
            raise AssertionError(f"{problem} then {again}") from again
        except UsageError:  # what is fixed contradicts itself, and is named
            return
    except UsageError:
        return
    for spec in specs:
        shape = result.shapes[spec.name]
        assert len(shape) == len(spec.dims)
        assert all(size == dim for size, dim in zip(shape, spec.dims, strict=True) if isinstance(dim, int))
    assert len(fill(accepted, result)) == len(specs)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(symbol=st.text(max_size=30), size=st.integers(0, 10**9))
def test_any_text_may_name_an_axis(symbol: str, size: int) -> None:
    meaning(symbol)
    value = evaluate(symbol, dict.fromkeys(names_in(symbol), size).get)
    assert value is None or value >= 0
