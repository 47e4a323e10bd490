"""Figures and the pages that show them.

figures           the tables: one row per figure
latency_figures   points as a chart: which line belongs to which panel, in which colour
explain_figures   ledgers as a chart
operator_bars     comparisons of precisions as stacked bars
placement_bars    shares of providers as stacked bars
chart             records of a chart: plain numbers and text
drawing           draws a chart; `layout` places its parts, `chart_text` its names; `bars` draws stacked bars
labels            direct labels that do not overlap, and round ticks
text_fit          shortens texts that are too long for a chart
style             colours, strokes and fonts of all figures
pictures          charts as files
table             points and costs as rows of text; `placement_tables` for several providers
reproduce         the commands that measure the same points again
page              index.html, report.md and explanation.md
claims            claims.md
comparison        the page of a comparison, and its table for a pull request
templates         renders pages
"""

from edgeprof.report.comparison import write_comparison
from edgeprof.report.page import write, write_explanation
from edgeprof.report.pictures import require_extra

__all__ = ["require_extra", "write", "write_comparison", "write_explanation"]
