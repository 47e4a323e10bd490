"""What people look at: a table of figures, and the pages that show them.

figures    the tables: one row per figure
panels     points as a chart: which line goes into which box, in which colour
counted    ledgers as a chart
stacked    comparisons of precisions as a chart
chart      what a drawing needs: plain numbers and words
drawing    how a chart becomes a picture, `layout` where its parts go, `naming` its names; `bars` for stacked ones
labels     direct labels that do not overlap, ticks people expect
style      the one look
pictures   charts as files
table      points, and costs, as rows of text
reproduce  the commands that make the same points again
page       index.html and report.md, explanation.md
claims     claims.md
templates  how pages are rendered
"""

from edgeprof.report.page import write, write_explanation

__all__ = ["write", "write_explanation"]
