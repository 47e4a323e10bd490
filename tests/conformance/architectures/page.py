"""docs/architectures.md: what is written by hand stays, the table is that of the last run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from . import ARCHITECTURES
from .outcome import Outcome
from .tiny_model import TinyModel

PAGE = Path(__file__).parents[3] / "docs" / "architectures.md"
HEADING = "\n## The table\n"
COLUMNS = ("Model", "Class", "Exported", "Fused nodes", "int8 (matmuls)", "Profiled", "Costs", "Static graph")


def write(outcomes: Mapping[str, Outcome]) -> None:
    """Replace the table."""
    kept, heading, _ = PAGE.read_text().partition(HEADING)
    assert heading
    PAGE.write_text(kept + heading + "\n" + "\n".join(_table(outcomes)) + "\n")


def row(tiny: TinyModel, one: Outcome) -> str:
    """The row of one architecture."""
    cells = (tiny.name, tiny.class_name, one.exported, one.fused, one.quantized, one.profiled, one.costs, one.static)
    return f"| {' | '.join(cells)} |"


def _table(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for tiny in ARCHITECTURES:
        yield row(tiny, outcomes[tiny.name])
    sentences = [(name, sentence) for name, one in outcomes.items() for sentence in (*one.refusals, *one.failures)]
    if sentences:
        yield ""
        yield from (f"- {name}, {' '.join(sentence.split())}" for name, sentence in sentences)
