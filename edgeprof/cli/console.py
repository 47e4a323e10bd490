"""How things are shown: one table, one progress bar, one way to print JSON."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.process import Progress

if TYPE_CHECKING:
    from rich.console import Console


WIDEST_TABLE = 1000


def out() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False, markup=False)


def show_line(*parts: str | tuple[str, str]) -> None:
    """Print one line; a part may be (text, style)."""
    from rich.text import Text

    out().print(Text.assemble(*parts))


def show_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """`columns` are (heading, "left" | "right")."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == "right" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = out()
    needed = console.measure(table, options=console.options.update(max_width=WIDEST_TABLE)).maximum
    console.width = max(console.width, needed)  # a narrow terminal wraps a row; nothing is cut off
    console.print(table)


@contextlib.contextmanager
def progress_bar(*, still: bool = False) -> Iterator[Progress]:
    """A bar on standard error that says what is being done; a callback that moves it comes back.

    A `still` bar is drawn only when it moves: a clock that ticks would run on the cores that are being measured.
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
        task = bar.add_task("starting", total=1.0)

        def tell(doing: str, share: float | None) -> None:
            bar.update(task, description=doing, completed=share, refresh=still)

        yield tell
