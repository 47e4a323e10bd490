"""Output of commands: lines, tables, a progress bar, and JSON.

All text passes through `visible`, which escapes control characters.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.process import Progress
from edgeprof.text import told_apart, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


MAX_TABLE_WIDTH = 1000
MAX_NAME_WIDTH = 60
"""Characters in the first column of a table; records have the full name."""


def out() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False, markup=False)


def show_line(*parts: str | tuple[str, str]) -> None:
    """Print one line; a part may be (text, style)."""
    from rich.text import Text

    styled = ((part, "") if isinstance(part, str) else part for part in parts)
    out().print(Text.assemble(*((_line(text), style) for text, style in styled)))


def _line(text: str) -> str:
    breaks = len(text) - len(text.lstrip("\n"))
    within = text.strip("\n")
    return text[:breaks] + visible(within) + text[breaks + len(within) :]


def show_json(value: Any) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    print(
        "\n".join(
            "".join(char if char.isprintable() else _json_escaped(char) for char in line) for line in text.split("\n")
        )
    )


def _json_escaped(character: str) -> str:
    """The JSON escape of a character."""
    return json.dumps(character)[1:-1]


def show_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; `columns` are (heading, "left" | "right")."""
    from rich.table import Table

    table = Table(title=visible(title) or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading, side in columns:
        table.add_column(visible(heading), justify="right" if side == "right" else "left", no_wrap=True)
    brief = told_apart([visible(row[0]) for row in rows], MAX_NAME_WIDTH)
    for first, *cells in rows:
        table.add_row(brief[visible(first)], *map(visible, cells))
    console = out()
    needed = console.measure(table, options=console.options.update(max_width=MAX_TABLE_WIDTH)).maximum
    console.width = max(console.width, needed)  # a narrow terminal wraps rows instead of truncating them
    console.print(table)


class _Bar:
    """A line that `Progress` moves; or, from the first call of `line` on, a line for each device."""

    def __init__(self, bar: "Bar", still: bool) -> None:
        self._bar, self._still = bar, still
        self._task = bar.add_task("starting", total=1.0)

    def __call__(self, activity: str, share: float | None) -> None:
        self._move(self._task, activity, share)

    def line(self, name: str) -> Progress:
        """The line of one device, with its name in front."""
        self._bar.update(self._task, visible=False)
        task = self._bar.add_task(visible(name), total=1.0)
        return lambda activity, share: self._move(task, f"{name}: {activity}", share)

    def _move(self, task: "TaskID", activity: str, share: float | None) -> None:
        self._bar.update(task, description=visible(activity), completed=share, refresh=self._still)


@contextlib.contextmanager
def progress_bar(*, still: bool = False) -> Iterator[Progress]:
    """Show a progress bar on standard error, and yield the callback that moves it.

    A `still` bar is redrawn only on progress: a running clock would disturb the cores under measurement.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Bar(*columns, console=console, transient=True, disable=hidden, auto_refresh=not still) as bar:
        yield _Bar(bar, still)
