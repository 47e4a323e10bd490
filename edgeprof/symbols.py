"""Symbols of dynamic axes: their usual meaning, and arithmetic with them."""

import ast
import re
from collections.abc import Callable
from typing import Literal

Axis = Literal["batch", "tokens", "past", "total", "source", "frames", "height", "width", "channels", ""]
"""What an axis counts. `total`: cached and new tokens; `source`: tokens of an encoder that a decoder attends to;
`frames`: of audio, or its samples; `channels`: of an image; "": something else, or unknown."""

USUAL: tuple[tuple[str, Axis], ...] = (
    (r".*batch.*heads?.*", ""),  # Bloom's caches have both in one axis
    (r".*batch.*|bs|b|num_sequences", "batch"),
    (r".*(total|mask).*|kv_(len|length|seq_len)|all_len(gth)?", "total"),
    (r".*past.*|.*cache.*|mem(ory)?_?len(gth)?", "past"),
    (r".*(src|source|encoder).*", "source"),
    (r"(num_|n_|audio_|input_)?(frames?|samples|feature(s|_length|_len))|time(_?steps?)?|audio_?len(gth)?", "frames"),
    (r"(image_|img_|input_)?(height|h)", "height"),
    (r"(image_|img_|input_)?(width|w)", "width"),
    (r".*(seq|token|length|tgt|target|word).*|s|t|l|n|len|.*_len", "tokens"),
)
"""The first pattern that matches the whole name decides."""

LONGEST = 200  # characters of an expression; longer ones are not parsed

_CALLS: dict[str, Callable[..., float]] = {
    "floor": lambda a: a // 1,
    "ceil": lambda a: -(-a // 1),
    "max": max,
    "min": min,
}


def meaning(symbol: str, axis: int = 1) -> Axis:
    """The usual meaning of a symbol; `axis` is its position: a leading N is the batch, as in NCHW.

    >>> meaning("past_sequence_length"), meaning("tgt_len"), meaning("N", axis=0), meaning("s77")
    ('past', 'tokens', 'batch', '')
    """
    symbol = re.sub(r":\d+$", "", symbol).lower()
    if symbol == "n" and axis == 0:
        return "batch"
    return next((role for pattern, role in USUAL if re.fullmatch(pattern, symbol)), "")


def names_in(symbol: str) -> list[str]:
    """The names in an expression; the symbol itself where it is not one.

    >>> names_in("past + 1"), names_in("floor(frames/2)"), names_in("input.1")
    (['past'], ['frames'], ['input.1'])
    """
    tree = _tree(symbol)
    if tree is None:
        return [symbol] if symbol else []
    return list(
        dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _CALLS)
    )


def evaluate(symbol: str, size_of: Callable[[str], int | None]) -> int | None:
    """The value of an expression of sizes; None where a size is unknown, or the symbol is not an expression.

    >>> evaluate("s1 + s2", {"s1": 5, "s2": 7}.get), evaluate("floor(frames/2)", {"frames": 9}.get)
    (12, 4)
    """
    tree = _tree(symbol)
    found = None if tree is None else _value(tree.body, size_of)
    return None if found is None or found < 0 else int(found)


def _tree(symbol: str) -> ast.Expression | None:
    """The parsed expression of a symbol; None where it is only a name."""
    if not re.search(r"\s-\s|-\s*\d|[+*/(]", symbol) or len(symbol) > LONGEST:
        return None
    try:
        return ast.parse(symbol.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return None


def _value(node: ast.expr, size_of: Callable[[str], int | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return size_of(name)
        case ast.BinOp(left=left, op=operator, right=right):
            return _combined(operator, _value(left, size_of), _value(right, size_of))
        case ast.Call(func=ast.Name(id=name), args=arguments) if name.lower() in _CALLS and arguments:
            values = [_value(argument, size_of) for argument in arguments]
            known = [value for value in values if value is not None]
            return _CALLS[name.lower()](*known) if len(known) == len(values) else None
    return None


def _combined(operator: ast.operator, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    match operator:
        case ast.Add():
            return one + other
        case ast.Sub():
            return one - other
        case ast.Mult():
            return one * other
        case ast.Div() if other:
            return one / other
        case ast.FloorDiv() if other:
            return one // other
    return None
