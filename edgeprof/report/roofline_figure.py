"""The roofline: every module of every point against the ceilings of the device."""

import math
from collections.abc import Iterator, Sequence

from edgeprof import units
from edgeprof.report import style
from edgeprof.report.chart import Chart, ChartValue, Guide, Line, Mark, Panel, Scale
from edgeprof.schema import MODULES, Ceilings, ModuleRoof, Roofline

NAME, TITLE, SECTION = "roofline", "Modules against the ceilings of the device", "Roofline"
INTENSITY = Scale("Intensity (FLOP per byte)", base=2)
SPEED = Scale("Speed (GFLOP/s)")
REMARKS = ("each mark: a module at one length, along which it is joined", "modules without products: see the table")


def arrange(rooflines: Sequence[Roofline], ceilings: Ceilings) -> Chart | None:
    """A panel for each model, phase and batch size; None where no module computes a product."""
    groups: dict[str, list[Roofline]] = {}
    for one in rooflines:
        batch = f", batch {one.load.batch}" if one.load.batch > 1 else ""
        groups.setdefault(f"{one.subject.model}, {one.load.phase}{batch}", []).append(one)
    panels = [
        Panel(title=title, y=SPEED, lines=lines, guides=tuple(_guides(members, ceilings)))
        for title, members in groups.items()
        if (lines := tuple(_lines(members)))
    ]
    return Chart(title=TITLE, remarks=REMARKS, x=INTENSITY, panels=tuple(panels)) if panels else None


def _lines(members: Sequence[Roofline]) -> Iterator[Line]:
    several = len({str(one.subject.precision) for one in members}) > 1
    marks: dict[tuple[str, str], list[tuple[int, Mark]]] = {}
    for one in members:
        for roof in one.modules:
            if roof.module.macs and roof.module.time_s:
                key = roof.module.module, str(one.subject.precision)
                marks.setdefault(key, []).append((one.load.length or 0, _mark(roof)))
    for (module, precision), found in sorted(marks.items(), key=lambda each: MODULES.index(each[0][0])):
        yield Line(
            label=f"{module} {precision}" if several else module,
            colour=style.colour(MODULES.index(module)),
            stroke=style.stroke(precision),
            marks=tuple(mark for _, mark in sorted(found, key=lambda each: each[0])),
        )


def _mark(roof: ModuleRoof) -> Mark:
    return Mark(roof.module.intensity, ChartValue.exact(roof.module.flops_per_s / 1e9))


def _guides(members: Sequence[Roofline], ceilings: Ceilings) -> Iterator[Guide]:
    """The peaks of the precisions that multiply here, and what memory gives, up to the highest of them."""
    used = {roof.module.precision for one in members for roof in one.modules if roof.module.macs}
    peaks = {name: 2 * peak.value / 1e9 for name, peak in ceilings.products.items() if name in used}
    for precision, peak in peaks.items():
        yield Guide(f"{precision} peak, {units.number(peak)} GFLOP/s", peak)
    memory = ceilings.memory.value
    highest = max(peaks.values(), default=math.inf)
    yield Guide(f"memory, {units.size(memory)}/s", memory / 1e9, power=1, up_to=highest)
