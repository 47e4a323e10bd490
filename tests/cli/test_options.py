"""Values of options: lists, ranges, pairs."""

import pytest

from edgeprof.cli import options
from edgeprof.errors import UsageError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("16", [16]),
        ("64, 16", [16, 64]),
        ("16,16", [16]),
        ("16..128", [16, 32, 64, 128]),
        ("16..512x2", [16, 32, 64, 128, 256, 512]),
        ("1..100x10", [1, 10, 100]),
        ("16..100x2", [16, 32, 64]),
        ("5,2..8", [2, 4, 5, 8]),
        ("7..7", [7]),
    ],
)
def test_numbers(text: str, numbers: list[int]) -> None:
    assert options.numbers(text, "--seq") == numbers


LONG = "9" * 5000


@pytest.mark.parametrize(
    "text",
    ["", ",", "0", "-1", "1.5", "1e3", "x", "16..", "..16", "8..4", "1..8x1", "²", "٣", LONG, "1.." + LONG],
)
def test_what_is_no_list_of_positive_numbers(text: str) -> None:
    with pytest.raises(UsageError, match=r"--seq.*Example: --seq"):
        options.numbers(text, "--seq")


def test_words_are_kept_in_order_once() -> None:
    assert options.words("int8, fp32,int8", "--precision") == ["int8", "fp32"]


def test_pairs_may_have_an_equals_sign_in_the_name() -> None:
    assert options.sizes(["a=b=3", "c=0"], "--dim", "x=1") == {"a=b": 3, "c": 0}


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=-1", "a=x", "a=1.5", "a=" + "9" * 5000])
def test_pairs_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--dim"):
        options.sizes([text], "--dim", "x=1")
