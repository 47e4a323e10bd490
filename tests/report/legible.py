"""What a picture shows, and whether it can be read."""

from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from edgeprof.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def texts(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


def check(canvas: "Canvas") -> None:
    """No text touches another or is clipped, and all are large enough to be halved."""
    with style.look():
        canvas.draw_without_rendering()
        shown = [
            text
            for text in canvas.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_visible())
            if text.get_text().strip()
        ]
        boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    names = [item for item in boxes if not item[0].replace(",", "").replace(".", "").isdigit()]
    for (one, box), (other, other_box) in combinations(names, 2):
        # Extents include the room for descenders, which neighbouring lines of text may share.
        assert not box.padded(-2.5).overlaps(other_box.padded(-2.5)), f"'{one}' touches '{other}'"
    for name, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, name
        assert box.x1 <= canvas.bbox.x1 and box.y1 <= canvas.bbox.y1, name
    assert min(text.get_fontsize() for text in shown) >= 11
