"""Render pages from templates: HTML, or Markdown with names escaped."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof import store, units
from edgeprof.schema import Machine
from edgeprof.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, path: Path, content: dict[str, Any]) -> None:
    """Write a page; the name of the template decides between HTML and Markdown.

    Raises:
        StorageError: the page cannot be written.
    """
    html = ".html." in template
    pages = _environment(autoescape=html, finalize=_visible if html else _escape_markdown)
    store.write_atomic(path, pages.get_template(template).render(content).encode())


def started(at: str) -> str:
    """An ISO 8601 time in readable form."""
    return at.replace("T", " ").replace("+00:00", "Z").replace("Z", " UTC")


def machine_rows(machine: Machine) -> Iterator[tuple[str, str]]:
    """Rows (name, value) that describe a machine."""
    if not machine.cpu:
        yield "CPU", f"not recorded (no {store.MACHINE_FILE})"
        yield "Machine id", machine.machine_id
        return
    yield "CPU", f"{machine.cpu} ({machine.architecture})"
    if machine.cpu_features:
        yield "CPU features", ", ".join(machine.cpu_features)
    yield "Cores allowed", f"{machine.cores_allowed}, frequency governor {machine.governor}"
    limit = machine.memory_limit_bytes
    yield "Memory", units.size(machine.memory_bytes) + (f", limited to {units.size(limit)}" if limit else "")
    yield "System", machine.os
    yield "Versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield "Machine id", machine.machine_id


def _environment(**options: Any) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def _escape_markdown(value: Any) -> Any:
    """Escape text for Markdown, table cells included; text marked safe stays as it is."""
    if hasattr(value, "__html__"):
        return value
    text = " ".join(visible(str(value)).split()).replace("&", "&amp;")
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", text)


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
