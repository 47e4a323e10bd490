"""Options of several commands, and parsers of their values: lists, ranges, pairs, choices."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from edgeprof.errors import UsageError
from edgeprof.text import abbreviated

Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="text|random|PATH",
        help="Data for recipes: text (shipped), a .txt, .npy, .npz, a folder of images, or random.",
    ),
]
Samples = Annotated[int, typer.Option(help="Calibration samples, at most.", min=1, max=1_000_000)]
StrictAccuracy = Annotated[
    bool, typer.Option("--strict-accuracy", help="Fail where a recipe exceeds its accuracy limits.")
]
SaveOptimized = Annotated[
    bool, typer.Option("--save-optimized", help="Also write the graph that onnxruntime runs: optimized.onnx.")
]


Seq = Annotated[str | None, typer.Option(help="Token lengths: 16,64,256 or 16..512x2. In decode: tokens cached.")]
Batch = Annotated[str | None, typer.Option(help="Batch sizes; default 1, or what a file fixes.")]
Dim = Annotated[
    list[str] | None, typer.Option(help="Size of an axis of an .onnx file: name=512, or input.1=512. Repeatable.")
]
Input = Annotated[list[str] | None, typer.Option(help="Input from a file: name=file.npy, .npz or .pb. Repeatable.")]

Threads = Annotated[int | None, typer.Option(help="Runtime threads; default all cores.", min=1, max=4096)]
Runs = Annotated[int, typer.Option(help="Minimum timed runs per visit.")]
MinTime = Annotated[float, typer.Option(help="Minimum seconds of timed runs per visit.")]
Timeout = Annotated[float, typer.Option(help="Seconds after which a visit is stopped.")]
Percentiles = Annotated[
    str, typer.Option(metavar="LIST", help="Percentiles of latencies to show, where the runs can tell them: 50,90,99.")
]
MemoryLimit = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory that a measuring process may take: 512MiB, 2GB.")
]
ModelsFolder = Annotated[Path, typer.Option(help="Folder that `export` filled.")]
Ci = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Visit a point until its 95 % interval is this, up and down; default 3%."),
]
MaxTime = Annotated[float, typer.Option(help="Seconds of visits after which a point is left as it is.")]
On = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Devices: names of fleet.toml, local, all, ssh://user@host.")
]
Fleet = Annotated[Path | None, typer.Option(help="The file of devices; default fleet.toml.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow plain TCP to other machines.")]
Certs = Annotated[Path | None, typer.Option(help="Folder with ca.pem, cert.pem and key.pem.")]

SIZES = {
    "width": "Width of a mixer or embedding.",
    "tokens": "Fixed token length of mixer-dense.",
    "heads": "Heads of a mixer with attention.",
    "cross": "Tokens of a second sequence for mixer-attention.",
}
"""Options of families, named here so that --help need not import them."""


def with_sizes(command: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for every size of SIZES, which it receives as keywords."""
    signature = inspect.signature(command)
    named = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    added = {name: Annotated[int | None, typer.Option(help=text, min=1)] for name, text in SIZES.items()}
    sizes = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in added.items()
    ]
    command.__signature__ = signature.replace(parameters=[*named, *sizes])  # type: ignore[attr-defined]
    command.__annotations__ |= added
    return command


class SizingOptions(TypedDict):
    """Keywords of `profile`, `why`, `quantize` and `verify` that size files."""

    seq: list[int]
    batch: list[int]
    dim: dict[str, int]
    input: dict[str, Path]


def sizing(seq: str | None, batch: str | None, dim: list[str] | None, input: list[str] | None) -> SizingOptions:
    return SizingOptions(
        seq=numbers(seq, "--seq") if seq is not None else [],
        batch=numbers(batch, "--batch") if batch is not None else [],
        dim=sizes(dim, "--dim", "sequence_length=512"),
        input=files(input, "--input", "input_ids=ids.npy"),
    )


def one_word(text: str, option: str) -> str:
    """One name, where several make no sense."""
    names = words(text, option)
    if len(names) > 1:
        raise UsageError(f"{option} takes one name here, not {len(names)}.", f"Example: {option} {names[0]}")
    return names[0]


def words(text: str, option: str) -> list[str]:
    """ "fp32,int8" -> ["fp32", "int8"]"""
    parts = [word.strip() for word in text.split(",")]
    if not all(parts):
        examples = {
            "--ep": "cpu,webgpu",
            "--baseline": "torch,openvino",
            "--recipe": "int8,int4",
            "--percentiles": "50,90,99",
            "--on": "pi5,local",
        }
        example = examples.get(option, "fp32,int8")
        raise UsageError(
            f"{option} is empty, or has an empty part: '{abbreviated(text)}'.", f"Example: {option} {example}"
        )
    return list(dict.fromkeys(parts))


def choice(text: str, option: str, *known: str) -> Any:
    """The text, if it is one of the known values.

    Raises:
        UsageError: it is not.
    """
    if text not in known:
        raise UsageError(f"{option} cannot be '{abbreviated(text)}'.", f"Choose one of {', '.join(known)}.")
    return text


MOST = 10**9
"""The largest size that is accepted."""

EXAMPLES = {"--seq": "16,64,256 or --seq 16..512x2", "--batch": "1,4", "--lengths": "16,64,64"}


def numbers(text: str, option: str) -> list[int]:
    """Positive whole numbers of a list or a range, sorted.

    >>> numbers("64,16", "--seq"), numbers("16..128x2", "--seq"), numbers("16..40", "--seq")
    ([16, 64], [16, 32, 64, 128], [16, 32])

    Raises:
        UsageError: not a list of positive whole numbers.
    """
    values: set[int] = set()
    for word in text.split(","):
        values.update(_range(word.strip(), option) if ".." in word else [_size(word.strip(), option)])
    return sorted(values)


def _range(word: str, option: str) -> list[int]:
    match = re.fullmatch(r"(\d+)\.\.(\d+)(?:x(\d+))?", word, re.ASCII)
    if match is None:
        raise UsageError(
            f"{option} takes ranges such as 16..512 or 16..512x2, not '{abbreviated(word)}'.", _example(option)
        )
    low, high = _size(match[1], option), _size(match[2], option)
    factor = _size(match[3], option) if match[3] else 2
    if factor < 2 or low > high:
        raise UsageError(f"{option} {word} is not an increasing range.", _example(option))
    steps = [low]
    while steps[-1] * factor <= high:
        steps.append(steps[-1] * factor)
    return steps


def _size(word: str, option: str, least: int = 1, example: str = "") -> int:
    """A whole number from `least` to MOST."""
    few = word.isascii() and word.isdigit() and len(word) <= len(str(MOST))  # int() refuses thousands of digits
    if not few or not least <= int(word) <= MOST:
        what = "whole numbers above zero" if least else "whole numbers"
        raise UsageError(
            f"{option} takes {what} up to {MOST:,}, not '{abbreviated(word)}'.", example or _example(option)
        )
    return int(word)


def _example(option: str) -> str:
    return f"Example: {option} {EXAMPLES.get(option, '16')}"


def share(text: str, option: str) -> float:
    """ "80%" -> 0.8

    Raises:
        UsageError: it is not a share from 0 to 100 %.
    """
    number = text.removesuffix("%").strip()
    if not re.fullmatch(r"\d+(\.\d*)?", number, re.ASCII) or not 0 <= float(number) <= 100:
        raise UsageError(f"{option} takes a share of 0 to 100 %, not '{abbreviated(text)}'.", f"Example: {option} 100%")
    return float(number) / 100


def interval(ci: str | None, max_time: float) -> float:
    """ "1%" -> 0.01; 3 % where none is given.

    Raises:
        UsageError: not a share; or it is given where the number of visits is fixed.
    """
    if ci is not None and not max_time:
        raise UsageError("--max-time 0 makes --rounds visits, whatever the interval.", "Omit --ci, or --max-time.")
    return share(ci or "3%", "--ci")


def seconds(text: str, option: str) -> float:
    """ "90s" -> 90.0, "10m" -> 600.0

    Raises:
        UsageError: it is no time.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?)(s|m|h)", text.strip(), re.ASCII)
    if found is None:
        raise UsageError(f"{option} takes a time, not '{abbreviated(text)}'.", f"Example: {option} 10m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def percents(text: str, option: str) -> list[float]:
    """ "50,99.9" -> [50.0, 99.9]

    Raises:
        UsageError: not a list of numbers.
    """
    for word in words(text, option):
        if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", word, re.ASCII):
            raise UsageError(f"{option} takes numbers, not '{abbreviated(word)}'.", f"Example: {option} 50,90,99")
    return sorted(map(float, words(text, option)))


UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def size(text: str, option: str) -> int:
    """Bytes of a size with its unit.

    >>> size("512MiB", "--memory-limit"), size("1.5 GB", "--memory-limit")
    (536870912, 1500000000)

    Raises:
        UsageError: it is no size, or has no unit.
    """
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([kKMG]i?B|B)", text.strip(), re.ASCII)
    if found is None or not float(found[1]):
        raise UsageError(f"{option} takes a size, not '{abbreviated(text)}'.", f"Example: {option} 512MiB")
    return round(float(found[1]) * UNITS[found[2].upper()])


def pairs(texts: list[str] | None, option: str, example: str) -> dict[str, str]:
    """["a=1", "b=2"] -> {"a": "1", "b": "2"}"""
    values = {}
    for text in texts or ():
        key, equals, value = text.rpartition("=")
        if not (key and equals and value):
            raise UsageError(f"{option} takes name=value, not '{abbreviated(text)}'.", f"Example: {option} {example}")
        if key in values:
            raise UsageError(f"{option} has two values for {abbreviated(key)}.", "Use it once.")
        values[key] = value
    return values


def sizes(texts: list[str] | None, option: str, example: str) -> dict[str, int]:
    """["a=1", "b=0"] -> {"a": 1, "b": 0}"""
    given = pairs(texts, option, example).items()
    return {key: _size(value, option, least=0, example=f"Example: {option} {example}") for key, value in given}


def files(texts: list[str] | None, option: str, example: str) -> dict[str, Path]:
    return {key: Path(value) for key, value in pairs(texts, option, example).items()}
