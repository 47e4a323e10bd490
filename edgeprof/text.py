"""Names as they are shown. They come from files of others: records keep them as they are, screens and pages must not.

An ESC in the name of a node would steer the terminal, a line break or a change of direction would make one text look
like another, and a name of 300 characters would leave no room for anything else.
"""

from collections.abc import Sequence
from itertools import count

ELLIPSIS = "…"


def visible(text: str) -> str:
    """With every character that is not printed written out: "\\x1b", "\\n", "\\u202e"."""
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def shortened(text: str, most: int) -> str:
    """At most so many characters: the middle is left out."""
    return text if len(text) <= most else _joined(text[: most // 2], text[len(text) - (most - 1 - most // 2) :])


def abbreviated(word: str, most: int = 40) -> str:
    """A word as a message quotes it: of a long one, the beginning and its length."""
    return word if len(word) <= most else f"{word[:20]}... ({len(word):,} characters)"


def told_apart(names: Sequence[str], most: int) -> dict[str, str]:
    """Each name as `shortened`, and names that would then be equal still different.

    Of such names what they differ in is shown; where that is too long, they are numbered.
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(shortened(name, most), []).append(name)
    short: dict[str, str] = {}
    for brief, group in groups.items():
        for name, text in zip(group, [brief] if len(group) == 1 else _different(group, most), strict=True):
            free = (text if number == 1 else f"{text} ({number})" for number in count(1))
            short[name] = next(one for one in free if one not in short.values())
    return short


def _different(group: Sequence[str], most: int) -> list[str]:
    """The beginning that all have, then what follows where the first of them differ."""
    places = enumerate(zip(*group, strict=False))
    start = next((place for place, characters in places if len(set(characters)) > 1), min(map(len, group)))
    lead, room = most // 3, most - 2 - most // 3
    cut = [name[max(start - 2, lead) :] for name in group]
    return [
        _joined(name[:lead], rest if len(rest) <= room else rest[:room] + ELLIPSIS)
        for name, rest in zip(group, cut, strict=True)
    ]


def _joined(before: str, after: str) -> str:
    return f"{before}{ELLIPSIS}{after}"


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
