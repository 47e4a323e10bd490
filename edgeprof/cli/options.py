"""Options that several commands have, and values that a word does not cover: lists, ranges, pairs, choices."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeprof.errors import UsageError

Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="text|random|PATH",
        help="Data for recipes: text (shipped), a .txt, .npy, .npz, a folder of images, or random.",
    ),
]
Samples = Annotated[int, typer.Option(help="Samples of that data, at most.", min=1)]
StrictAccuracy = Annotated[
    bool, typer.Option("--strict-accuracy", help="Fail where a recipe costs more accuracy than it may.")
]
SaveOptimized = Annotated[
    bool, typer.Option("--save-optimized", help="Write the graph that onnxruntime runs, too: optimized.onnx.")
]


def words(text: str, option: str) -> list[str]:
    """ "fp32,int8" -> ["fp32", "int8"]"""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise UsageError(f"{option} is empty, or has an empty part: '{text}'.", f"Example: {option} fp32,int8")
    return list(dict.fromkeys(found))


def choice(text: str, option: str, *known: str) -> Any:
    if text not in known:
        raise UsageError(f"{option} cannot be '{text}'.", f"Choose one of {', '.join(known)}.")
    return text


def numbers(text: str, option: str) -> list[int]:
    """ "16,64" -> [16, 64]; "16..128x2" -> [16, 32, 64, 128]; "16..20" -> doubling as well. All positive, sorted.

    Raises:
        UsageError: not a list of positive whole numbers.
    """
    found: set[int] = set()
    for word in text.split(","):
        found.update(_range(word.strip(), option) if ".." in word else [_positive(word.strip(), option)])
    return sorted(found)


def _range(word: str, option: str) -> list[int]:
    ends, _, factor_text = word.partition("x")
    low_text, _, high_text = ends.partition("..")
    low, high = _positive(low_text, option), _positive(high_text, option)
    factor = _positive(factor_text, option) if factor_text else 2
    if factor < 2 or low > high:
        raise UsageError(f"{option} {word} is no rising range.", f"Example: {option} 16..512x2")
    steps = [low]
    while steps[-1] * factor <= high:
        steps.append(steps[-1] * factor)
    return steps


def _positive(word: str, option: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise UsageError(
            f"{option} takes whole numbers above zero, not '{word}'.",
            f"Example: {option} 16,64,256 or {option} 16..512x2",
        )
    return int(word)


def share(text: str, option: str) -> float:
    """ "80%" -> 0.8

    Raises:
        UsageError: no share from 0 to 100 %.
    """
    number = text.removesuffix("%").strip()
    if not number.replace(".", "", 1).isdecimal() or not 0 <= float(number) <= 100:
        raise UsageError(f"{option} takes a share of 0 to 100 %, not '{text}'.", f"Example: {option} 100%")
    return float(number) / 100


def pairs(texts: list[str] | None, option: str, example: str) -> dict[str, str]:
    """["a=1", "b=2"] -> {"a": "1", "b": "2"}"""
    found = {}
    for text in texts or ():
        key, equals, value = text.rpartition("=")
        if not (key and equals and value):
            raise UsageError(f"{option} takes name=value, not '{text}'.", f"Example: {option} {example}")
        found[key] = value
    return found


def sizes(texts: list[str] | None, option: str, example: str) -> dict[str, int]:
    return {key: _positive(value, option) for key, value in pairs(texts, option, example).items()}


def files(texts: list[str] | None, option: str, example: str) -> dict[str, Path]:
    return {key: Path(value) for key, value in pairs(texts, option, example).items()}
