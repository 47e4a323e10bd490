"""How far outputs are from the CPU's, by hand, and what each precision may differ by."""

import sys

import ml_dtypes
import numpy as np
import pytest

from edgeprof.measure.output_tolerance import agreement, tolerance
from edgeprof.schema import Agreement, Kind, Precision, Target, decode, encode


def on(kind: Kind) -> Target:
    return Target(provider="p", runtime_name="P", kind=kind)


def test_the_worst_output_decides() -> None:
    expected = {"logits": np.array([[3.0, 4.0]]), "present": np.array([0.0, -100.0])}
    outputs = {"logits": np.array([[3.0, 3.0]]), "present": np.array([0.0, -98.0])}
    result = agreement(outputs, expected, on("CPU"), Precision(recipe="fp32"))
    assert result == Agreement(
        max_abs_error=2.0,  # 2 of 100 in one, 1 of 4 in the other
        max_rel_error=0.25,
        cosine=pytest.approx((9 + 12) / (5 * 18**0.5)),
        tolerance=1e-3,
        output="logits",
    )
    assert not result.within


def test_equal_outputs_agree_with_infinities_too() -> None:
    mask = {"mask": np.array([0.0, -np.inf, 1.0], np.float16), "ids": np.array([3, 5]), "none": np.zeros((0, 4))}
    result = agreement(mask, mask, on("NPU"), Precision(recipe="fp32"))
    assert (result.max_abs_error, result.max_rel_error, result.cosine) == (0.0, 0.0, 1.0)
    assert result.within


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_as_far_as_can_be_and_can_be_recorded(wrong: float) -> None:
    result = agreement({"y": np.array([1.0, wrong])}, {"y": np.array([1.0, 2.0])}, on("NPU"), Precision(recipe="a8w8"))
    assert (result.max_rel_error, result.cosine) == (sys.float_info.max, 0.0)
    assert decode(encode(result), Agreement, "memory") == result


def test_another_shape_is_another_result() -> None:
    assert not agreement({"y": np.ones(3)}, {"y": np.ones(2)}, on("NPU"), Precision(recipe="a8w8")).within


@pytest.mark.parametrize(
    ("kind", "precision", "limit"),
    [
        ("CPU", "fp32", 1e-3),
        ("GPU", "fp32", 1e-2),
        ("NPU", "fp32", 5e-2),
        ("GPU", "fp16", 5e-2),
        ("NPU", "a16w8", 0.1),
        ("NPU", "a8w8", 0.15),
    ],
)
def test_what_is_allowed(kind: Kind, precision: str, limit: float) -> None:
    assert tolerance(on(kind), Precision(recipe=precision)) == limit


def test_settings_and_words_of_foreign_files() -> None:
    assert tolerance(on("GPU"), Precision.parse("int4-block128-asymmetric")) == 5e-2
    assert tolerance(on("GPU"), Precision(recipe="fp8")) == 1e-2


def test_a_sequence_agrees_element_by_element() -> None:
    expected = {"layers": [np.array([1.0, 2.0]), np.array([4.0])]}
    off = {"layers": [np.array([1.0, 2.0]), np.array([3.0])]}
    assert agreement(expected, expected, on("CPU"), Precision(recipe="fp32")).within
    assert agreement(off, expected, on("CPU"), Precision(recipe="fp32")).max_rel_error == 0.25
    assert not agreement({"layers": expected["layers"][:1]}, expected, on("NPU"), Precision(recipe="a8w8")).within


def test_maps_and_strings_agree_if_they_are_the_same() -> None:
    expected = {"label": np.array(["cat"], object), "scores": [{"cat": 0.75, "dog": 0.25}]}
    other = {"label": np.array(["cat"], object), "scores": [{"cat": 0.75, "cow": 0.25}]}
    assert agreement(expected, expected, on("CPU"), Precision(recipe="fp32")).within
    assert agreement(other, expected, on("NPU"), Precision(recipe="a8w8")).output == "scores"
    assert not agreement(other, expected, on("NPU"), Precision(recipe="a8w8")).within


def test_what_is_no_number_on_both_sides_is_the_same() -> None:
    both = {"y": np.array([np.nan, 1.0])}
    assert agreement(both, both, on("CPU"), Precision(recipe="fp32")).within


def test_numbers_of_types_that_numpy_lacks_are_compared() -> None:
    expected = {"y": np.array([1, 2]).astype(ml_dtypes.bfloat16), "z": np.array([7, -8]).astype(ml_dtypes.int4)}
    off = {**expected, "y": np.array([1, 1.5]).astype(ml_dtypes.bfloat16)}
    assert agreement(off, expected, on("CPU"), Precision(recipe="fp32")).max_rel_error == 0.25
