"""The style of all figures: colours that everyone can distinguish, text that is legible at half size."""

import contextlib
from collections.abc import Iterator
from typing import Any

from edgeprof.recipe_table import RECIPES, Stroke

# Okabe & Ito (2008), distinguishable with any colour vision; without yellow, which is too faint for thin lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, QUIET, FAINT, GRID = "#1f2328", "#59636e", "#afb8c1", "#e4e7eb"

FONT_PT = 11.0
LABEL_PT = 11.0
TITLE_PT = 14.0
DPI = 160
HATCH = "////"

OTHER_STROKES = (Stroke((6, 1.5, 1, 1.5), "P", True), Stroke((3, 1, 1, 1, 1, 1), "X", True))


def stroke(precision: str, rank: int = 0) -> Stroke:
    """The stroke of a precision; `rank` distinguishes precisions without one in the table of recipes."""
    own = (row.stroke for row in RECIPES if row.name == precision)
    return next(own, None) or OTHER_STROKES[rank % len(OTHER_STROKES)]


def colour(rank: int) -> str:
    return COLOURS[rank % len(COLOURS)]


def darker(hex_colour: str) -> str:
    """The same hue, dark enough for text on white."""
    red, green, blue = (int(hex_colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"#{red * 7 // 10:02x}{green * 7 // 10:02x}{blue * 7 // 10:02x}"


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Matplotlib settings for drawing and saving; the settings of the caller are restored after the block."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


_SETTINGS: dict[Any, Any] = {
    "font.size": FONT_PT,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a name is a "$"
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: searchable, and read by screen readers
    "svg.hashsalt": "edgeprof",  # the same records give the same file
}
