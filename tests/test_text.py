"""Names from elsewhere as they are shown: nothing steers a screen, nothing is too long, nothing looks like another."""

import pytest

from edgeprof.text import shortened, told_apart, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bert-base Größe 模型 ✓", "bert-base Größe 模型 ✓"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b2J", "\\x9b2J"),
        ("a\nb\r\tc\x00", "a\\nb\\r\\tc\\x00"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("zero\u200bwidth\u2028", "zero\\u200bwidth\\u2028"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_is_not_printable_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_of_a_long_text_the_middle_is_left_out() -> None:
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 10) == "abcde…hijk"


def test_shortened_names_stay_different() -> None:
    same = "a" * 150
    middle = [f"{same}{one}{same}" for one in ("left", "right")]
    ends = [same + same + one for one in ("x", "y")]
    short = told_apart([*middle, *ends, "bert"], 30)
    assert len(set(short.values())) == 5
    assert short["bert"] == "bert"
    assert short[middle[0]] == "aaaaaaaaaa…aaleftaaaaaaaaaaaa…"
    assert short[ends[0]] == "aaaaaaaaaaaaaaa…aaaaaaaaaaaaax"


def test_names_that_differ_in_several_places_are_numbered_at_last() -> None:
    names = ["a" * 100 + "x" + "b" * 100 + tail + "c" * 100 for tail in ("1", "2")] + ["a" * 301]
    assert len(set(told_apart(names, 20).values())) == 3
