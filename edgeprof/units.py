"""Numbers as people read them: three significant digits and a unit. Bytes are decimal (1 MB = 10^6 bytes)."""

import math


def number(value: float, digits: int = 3, *, trim: bool = True) -> str:
    """`digits` significant digits, never in exponents: 0.0123, 4.1, 41, 1,230. In a column, leave the zeros: 4.10."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")  # first round, so that 9.999 counts its digits as 10.0
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if trim and "." in text else text


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    """In the largest unit that is not larger than the value; in the smallest one if all are."""
    rounded = abs(float(f"{value:.2e}"))
    scale, unit = max((step for step in steps if step[0] <= rounded), default=steps[0])
    return f"{number(value / scale)}{unit}"


def duration(seconds: float) -> str:
    return _scaled(seconds, ((1e-9, " ns"), (1e-6, " µs"), (1e-3, " ms"), (1.0, " s")))


def size(count_bytes: float) -> str:
    return _scaled(count_bytes, ((1, " B"), (1e3, " kB"), (1e6, " MB"), (1e9, " GB"), (1e12, " TB")))


def limit(count_bytes: int) -> str:
    """Bytes as people set limits: "512 MiB" or "1.5 GiB" where that is exact to a tenth, else as `size`.

    >>> limit(512 << 20), limit(3 << 29), limit(10**9)
    ('512 MiB', '1.5 GiB', '1 GB')
    """
    for step, unit in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if count_bytes >= step and 10 * count_bytes % step == 0:
            return f"{number(count_bytes / step, 4)} {unit}"
    return size(count_bytes)


def count(value: float) -> str:
    """Parameters, the way the field writes them: 4.39M, 124M, 1.56B, 2.5T."""
    return _scaled(value, ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T")))


def macs(value: float) -> str:
    return _scaled(value, ((1, " MAC"), (1e3, " kMAC"), (1e6, " MMAC"), (1e9, " GMAC"), (1e12, " TMAC")))


def percent(share: float) -> str:
    """A share of 0 to 1 as "83 %"; less than everything is never "100 %", more than nothing never "0 %"."""
    rounded = round(100 * share)
    if rounded >= 100 and share < 1:
        return f"{math.floor(1000 * share) / 10:.1f} %"
    return "under 1 %" if rounded == 0 and share > 0 else f"{rounded} %"


def ratio(value: float) -> str:
    """As many digits as a ratio of two medians can bear: 0.87x, 1.13x, 4.1x, 41x."""
    return f"{number(value, 3 if 1 <= value < 2 else 2)}x"


def counted(number_of: int, what: str, many: str = "") -> str:
    """A number and what it is of: "1 token", "1,024 tokens", "2 matrices" of ("matrix", "matrices")."""
    return f"{number_of:,} {what if number_of == 1 else many or what + 's'}"


def known(amount: int | None) -> str:
    """ "1,500"; "unknown" where it is not known.

    >>> known(1500), known(None)
    ('1,500', 'unknown')
    """
    return "unknown" if amount is None else f"{amount:,}"
