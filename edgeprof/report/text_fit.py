"""Fit the texts of a chart into a picture: printable, and short enough to leave space for the data."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from edgeprof.text import told_apart, visible

LONGEST = {"label": 48, "name": 48, "top": 48, "title": 96}
"""Maximum characters of the fields of a chart that contain names."""

LONGEST_WORD = 48
"""Maximum characters of a word in a remark; remarks are broken between words."""

Shape = TypeVar("Shape")
Change = Callable[[str, int], str]


def fitted(chart: Shape) -> Shape:
    """The same chart with the middle of too long texts left out; distinct texts stay distinct."""
    long: dict[int, list[str]] = {}

    def collect(text: str, most: int) -> str:
        long.setdefault(most, []).append(text)
        return text

    _changed(chart, collect)
    brief = {most: told_apart(texts, most) for most, texts in long.items()}
    changed: Shape = _changed(chart, lambda text, most: brief[most][text])
    return changed


def _changed(part: Any, change: Change) -> Any:
    if isinstance(part, str):
        return visible(part)
    if isinstance(part, tuple) and not hasattr(part, "_fields"):  # named tuples hold numbers
        return tuple(_changed(item, change) for item in part)
    if not is_dataclass(part) or isinstance(part, type):
        return part
    return replace(
        part, **{field.name: _field(field.name, getattr(part, field.name), change) for field in fields(part)}
    )


def _field(name: str, value: Any, change: Change) -> Any:
    if name == "remarks":
        return tuple(re.sub(r"\S+", lambda word: change(word[0], LONGEST_WORD), visible(remark)) for remark in value)
    if isinstance(value, str) and name in LONGEST:
        return change(visible(value), LONGEST[name])
    return _changed(value, change)
