import pytest

from edgeprof import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.number(0), "0"),
        (units.number(9.999), "10"),
        (units.number(0.01234), "0.0123"),
        (units.number(1234.5), "1,230"),
        (units.number(4.1, trim=False), "4.10"),
        (units.duration(0.4361), "436 ms"),
        (units.duration(9.9996e-4), "1 ms"),
        (units.duration(61.04), "61 s"),
        (units.size(437_000_000), "437 MB"),
        (units.size(0), "0 B"),
        (units.count(124_439_808), "124M"),
        (units.count(1_557_611_200), "1.56B"),
        (units.macs(11_174_220_000), "11.2 GMAC"),
        (units.percent(0.831), "83 %"),
        (units.percent(0.9996), "99.9 %"),
        (units.percent(0.004), "under 1 %"),
        (units.percent(0), "0 %"),
        (units.percent(1), "100 %"),
        (units.ratio(4.113), "4.1x"),
        (units.ratio(1.134), "1.13x"),
        (units.ratio(0.8666), "0.87x"),
        (units.ratio(41.3), "41x"),
        (units.ratio(220), "220x"),
    ],
)
def test_numbers_as_people_read_them(text: str, expected: str) -> None:
    assert text == expected


def test_one_of_a_thing_is_singular() -> None:
    assert units.counted(1, "token") == "1 token"
    assert units.counted(0, "token") == "0 tokens"
    assert units.counted(1024, "cached token") == "1,024 cached tokens"
    assert units.counted(2, "matrix", "matrices") == "2 matrices"
