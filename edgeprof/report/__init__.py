"""What people look at: a table of figures, and the pages that show them.

figures    the table: one row per figure
panels     which line goes into which box, in which colour
drawing    how a row becomes a picture
labels     direct labels that do not overlap, ticks people expect
style      the one look
table      the points as rows of text
reproduce  the commands that make the same points again
page       index.html and report.md
"""

from edgeprof.report.page import write

__all__ = ["write"]
