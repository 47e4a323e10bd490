"""English for lists of things."""

from collections.abc import Sequence


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
