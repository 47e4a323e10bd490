"""Charts as files, and as images of a page."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from edgeprof import store
from edgeprof.errors import MissingExtra
from edgeprof.process import Progress
from edgeprof.report import (
    bars,
    drawing,
    explain_figures,
    latency_figures,
    memory_bars,
    operator_bars,
    placement_bars,
    roofline_figure,
    sustained_figure,
)
from edgeprof.report.chart import Chart, Stacks
from edgeprof.report.figures import BY_DEVICE, CLASSES, EXPLAINED, FIGURES, MEMORY_PARTS, MIXERS, PLACEMENT
from edgeprof.report.table import CPU
from edgeprof.report.text_fit import fitted
from edgeprof.schema import Ceilings, Explanation, Findings, Law, Ledger, Point, Roofline, SustainedPass, Why

FOLDER = "figures"
PROVIDERS_SECTION = "Providers"
EXPLAINED_SECTION = "Explained"
WHY_SECTION = "Why"
MEMORY_SECTION = "Memory by parts"

LONGEST_NAME = 100
"""Characters of a model's name in a file name: file systems allow 255 in all."""


@dataclass(frozen=True)
class Plan:
    """A picture to draw. Its chart is built when its turn comes, and is None where there is no data."""

    name: str
    title: str
    section: str
    caption: str
    chart: Callable[[], Chart | Stacks | None]


@dataclass(frozen=True)
class Picture:
    name: str
    title: str
    section: str
    caption: str
    data_uri: str  # SVG, so that ids of several pictures in one page cannot collide
    width_px: int
    height_px: int

    @property
    def file(self) -> str:
        return f"{FOLDER}/{self.name}.png"


# --- plans ---------------------------------------------------------------------------------------------


def of_points(points: Sequence[Point], findings: Findings, laws: Sequence[Law] = ()) -> Iterator[Plan]:
    for row in (*FIGURES, *BY_DEVICE):
        yield Plan(
            name=row.name,
            title=row.title,
            section=row.phase.capitalize(),
            caption=findings.captions.get(row.name, ""),
            chart=partial(latency_figures.arrange, row, points, findings, laws),
        )


def of_sustained(passes: Sequence[SustainedPass], caption: str) -> Plan:
    """The only picture of its section, so that it is not among those of prefill or decode."""
    name, title = sustained_figure.NAME, sustained_figure.TITLE
    return Plan(name, title, "Sustained", caption, partial(sustained_figure.arrange, passes))


def of_memory(points: Sequence[Point], caption: str) -> Iterator[Plan]:
    """One picture for all precisions of a model in one setting; the first has the caption."""
    models: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        if point.memory and point.facts.memory:
            models.setdefault((point.subject.model, point.load.batch, point.place), []).append(point)
    names = _file_names([some[0].subject.model for some in models.values()])
    for name, some in zip(names, models.values(), strict=True):
        yield Plan(
            name=f"{MEMORY_PARTS.name}-{name}",
            title=f"{some[0].subject.model}{_of(some[0].place.host)}: {MEMORY_PARTS.title}",
            section=MEMORY_SECTION,
            caption=caption,
            chart=partial(memory_bars.arrange, MEMORY_PARTS, some),
        )
        caption = ""


def of_rooflines(rooflines: Sequence[Roofline], ceilings: Ceilings) -> Plan:
    name, title, section = roofline_figure.NAME, roofline_figure.TITLE, roofline_figure.SECTION
    return Plan(name, title, section, "", partial(roofline_figure.arrange, rooflines, ceilings))


def of_placements(points: Sequence[Point], caption: str) -> Plan:
    return Plan(
        PLACEMENT.name, PLACEMENT.title, PROVIDERS_SECTION, caption, partial(placement_bars.arrange, PLACEMENT, points)
    )


def of_explanation(explanation: Explanation, name: str = "") -> Iterator[Plan]:
    """The pictures of one explanation.

    Args:
        name: distinguishes its pictures from those of other explanations in the same folder.
    """
    ledgers = {explanation.ledger.name: explanation.lengths}
    for row in EXPLAINED:
        yield Plan(
            name=f"{row.name}-{name}" if name else row.name,
            title=f"{explanation.ledger.name}: {row.title}",
            section=EXPLAINED_SECTION,
            caption=explanation.captions.get(row.name, ""),
            chart=partial(explain_figures.arrange, row, ledgers, explanation.crossovers, of=explanation.ledger.name),
        )


def of_explanations(explanations: Sequence[Explanation]) -> Iterator[Plan]:
    """The pictures of several explanations in one folder, under distinct names."""
    ledgers = [explanation.ledger for explanation in explanations]
    names = [ledger.name + ("-decode" if ledger.load.phase == "decode" else "") for ledger in ledgers]
    for name, explanation in zip(_file_names(names), explanations, strict=True):
        yield from of_explanation(explanation, name)


def of_whys(whys: Sequence[Why]) -> Iterator[Plan]:
    """One picture for all comparisons with one file in one setting."""
    models: dict[tuple[object, ...], list[Why]] = {}
    for why in whys:
        models.setdefault((why.a, why.place, why.batch), []).append(why)
    names = _file_names([some[0].a.model for some in models.values()])
    for name, some in zip(names, models.values(), strict=True):
        yield Plan(
            name=f"{CLASSES.name}-{name}",
            title=f"{some[0].a.model}: {CLASSES.title}{_on(some[0].place.provider)}",
            section=WHY_SECTION,
            caption=" ".join(verdict for why in some for verdict in why.verdicts),
            chart=partial(operator_bars.arrange, CLASSES, some),
        )


def _on(provider: str) -> str:
    return "" if provider == CPU else f" on {provider}"


def _of(host: str) -> str:
    return f" on {host}" if host else ""


def _file_names(labels: Sequence[str]) -> list[str]:
    """Valid, distinct file names; the second and later of equal names get a number."""
    names: list[str] = []
    for label in labels:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.")[:LONGEST_NAME] or "model"
        names.append(next(free for number in range(1, len(labels) + 2) if (free := _nth(name, number)) not in names))
    return names


def _nth(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def of_mixers(ledgers: Mapping[str, Sequence[Ledger]], caption: str = "") -> Plan:
    return Plan(
        MIXERS.name, MIXERS.title, EXPLAINED_SECTION, caption, partial(explain_figures.arrange, MIXERS, ledgers)
    )


# --- drawing -------------------------------------------------------------------------------------------


def require_extra() -> None:
    """Require what draws.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtra("Drawing", "matplotlib", "report")


def save(folder: Path, plans: Sequence[Plan], progress: Progress) -> list[Picture]:
    """Write NAME.png and NAME.svg of each picture that has data."""
    pictures = []
    for number, plan in enumerate(plans):
        progress(plan.title, number / len(plans))
        chart = plan.chart()
        if chart is None:
            continue
        drawn = bars.draw(fitted(chart)) if isinstance(chart, Stacks) else drawing.draw(fitted(chart))
        svg = drawn.save("svg")
        store.write_atomic(folder / f"{plan.name}.png", drawn.save("png"))
        store.write_atomic(folder / f"{plan.name}.svg", svg)
        uri = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
        pictures.append(Picture(plan.name, plan.title, plan.section, plan.caption, uri, *drawn.page_size_px))
    return pictures


def files(folder: Path, pictures: Sequence[Picture]) -> list[Path]:
    return [folder / FOLDER / f"{picture.name}.{kind}" for picture in pictures for kind in ("png", "svg")]
