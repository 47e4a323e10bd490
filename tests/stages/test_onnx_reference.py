"""The reference of a file from elsewhere: what it computes itself, at shapes at which it runs and gives numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import normal, write

from edgeprof.api.targets import foreign
from edgeprof.errors import ModelFileError
from edgeprof.process import silent
from edgeprof.schema import Case
from edgeprof.stages import reference
from edgeprof.stages.onnx_reference import Candidate, record

BAKED = """(float[batch,seq,8] x) => (float[batch,seq,8] y) {
    m = MatMul(x, w)  r = Reshape(m, s)  y = Add(r, x)
}"""
ONE_ROW = {"w": normal(8, 8), "s": np.array([1, -1, 8])}


def recorded(source: Path, folder: Path, *feeds: Any, enough: int | None = None) -> list[Case]:
    """The shapes in the reference file; each of `feeds` is of batch and tokens as its first two axes tell."""
    candidates = [Candidate(Case(batch=array.shape[0], tokens=array.shape[1]), {"x": array}) for array in feeds]
    recorded = record(foreign(source).graph(), candidates, folder / "reference.npz", silent, enough=enough)
    kept = [candidate.case for candidate in recorded]
    assert [case for case, _, _ in reference.read(folder / "reference.npz")] == kept
    return kept


def test_a_shape_at_which_the_file_does_not_run_is_left_out(tmp_path: Path) -> None:
    """An Add gets 5 and 10 rows at batch 2."""
    source = write(tmp_path, BAKED, ONE_ROW)
    assert recorded(source, tmp_path, normal(1, 16, 8), normal(2, 5, 8)) == [Case(batch=1, tokens=16)]


def test_a_result_of_another_shape_than_declared_is_no_reference(tmp_path: Path) -> None:
    """[1, 2, 8] and [2, 1, 8] make [2, 2, 8], for which the file declares 1 token."""
    source = write(tmp_path, BAKED, ONE_ROW)
    assert recorded(source, tmp_path, normal(2, 1, 8), normal(1, 16, 8)) == [Case(batch=1, tokens=16)]


def test_a_file_that_declares_all_its_results_wrongly_is_compared_nevertheless(tmp_path: Path) -> None:
    source = write(tmp_path, "(float[batch,seq,8] x) => (float[seq,batch,8] y) { y = MatMul(x, w) }", ONE_ROW)
    assert recorded(source, tmp_path, normal(1, 16, 8)) == [Case(batch=1, tokens=16)]


def test_others_are_tried_only_where_there_is_no_result_yet(tmp_path: Path) -> None:
    """Padding of 15 reflected values needs 16 of them."""
    text = '(float[batch,seq,8] x) => (float[batch,t,8] y) { p = Pad<mode="reflect">(x, a)  y = MatMul(p, w) }'
    source = write(tmp_path, text, {"w": normal(8, 8), "a": np.array([0, 15, 0, 0, 0, 0])})
    feeds = [normal(1, tokens, 8) for tokens in (4, 8, 16, 32)]
    assert recorded(source, tmp_path, *feeds, enough=2) == [Case(batch=1, tokens=16)]
    with pytest.raises(
        ModelFileError, match=r"(?s)runs on none of 2 random inputs; at batch 1, tokens 4: Pad: .*Set sizes or inputs"
    ):
        recorded(source, tmp_path, *feeds[:2])


MEAN = """(float[batch,seq,8] x) => (float[batch,8] y, float[batch,seq,8] z) {
    s = ReduceSum<keepdims=0>(x, a)  y = Div(s, s)  z = MatMul(x, w)
}"""


def test_values_that_give_numbers_are_used(tmp_path: Path) -> None:
    """0 / 0 is not a number; of two fills of one shape the better one is kept."""
    source = write(tmp_path, MEAN, {"w": normal(8, 8), "a": np.array([1])})
    zeros, numbers = np.zeros((1, 4, 8), np.float32), normal(1, 4, 8)
    assert recorded(source, tmp_path, zeros, numbers) == [Case(batch=1, tokens=4)]
    ((_, feeds, _),) = reference.read(tmp_path / "reference.npz")
    np.testing.assert_array_equal(feeds["x"], numbers)
    assert recorded(source, tmp_path, zeros) == [Case(batch=1, tokens=4)]


def test_outputs_of_other_kinds_have_arrays_too() -> None:
    outputs = reference.named(
        ["a", "b", "c", "d"],
        [[normal(2), [normal(3)]], {"no": 0.25, "yes": 0.75}, np.array(["x", "long"], object), None],
    )
    assert {name: array.shape for name, array in outputs.items()} == {
        "a[0]": (2,),
        "a[1][0]": (3,),
        "b.keys": (2,),
        "b.values": (2,),
        "c": (2,),
    }
    assert [array.dtype.kind for array in outputs.values()] == ["f", "f", "U", "f", "U"]
