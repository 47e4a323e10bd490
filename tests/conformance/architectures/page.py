"""docs/architectures.md: what is written by hand stays, and so do rows of architectures that were not tried again."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import ARCHITECTURES
from .outcome import Outcome
from .tiny_model import TinyModel

PAGE = Path(__file__).parents[3] / "docs" / "architectures.md"
HEADING = "\n## The table\n"
COLUMNS = ("Model", "Class", "Exported", "Fused nodes", "int8 (matmuls)", "Profiled", "Costs", "Static graph")

FOLDER = r"/\S*/edgeprof-\w+/(\S+/)?"
"""Where the model lay while it was tried."""

NOT_TRIED = Outcome(exported="not tried yet", fused="", quantized="", profiled="", costs="", static="")


def write(outcomes: Mapping[str, Outcome]) -> None:
    """Replace what the page says of these architectures."""
    by_hand, heading, before = PAGE.read_text().partition(HEADING)
    assert heading
    lines = {
        one.name: _kept(before, one.name) or [row(one, Outcome(exported="not tried yet"))] for one in ARCHITECTURES
    }
    for one in ARCHITECTURES:
        if one.name in outcomes:
            lines[one.name] = [row(one, outcomes[one.name]), *_remarks(one.name, outcomes[one.name])]
    every = [line for group in lines.values() for line in group]
    table = [line for line in every if line.startswith("|")]
    remarks = [line for line in every if line.startswith("-")]
    PAGE.write_text("\n".join([by_hand + heading, *_head(), *table, *([""] if remarks else []), *remarks, ""]))


def row(tiny: TinyModel, one: Outcome) -> str:
    """The row of one architecture."""
    cells = (tiny.name, tiny.class_name, one.exported, one.fused, one.quantized, one.profiled, one.costs, one.static)
    return f"| {' | '.join(cells)} |"


def _kept(page: str, name: str) -> list[str]:
    """The row and the remarks of an architecture on the page."""
    return re.findall(rf"^(?:\| {re.escape(name)} \|.*|- {re.escape(name)}: .*)$", page, re.MULTILINE)


def _remarks(name: str, one: Outcome) -> Iterator[str]:
    for sentence in (*one.refusals, *one.failures):
        yield f"- {name}: {re.sub(FOLDER, '', ' '.join(sentence.split()))}"


def _head() -> tuple[str, str]:
    return f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"
