"""RESULTS.md: a section for everything that was measured or tried, each replaced when that is done anew."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edgeprof.measure import machine

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Benchmarks

Written by `make bench`, `make conformance` and `make torture`. Ratios are of things measured in turn (A B A B ...),
each in a process of its own.
"""


def write(title: str, about: str, lines: Sequence[str]) -> str:
    """Write one section, and leave the others as they are; its text."""
    known = RESULTS.read_text().split("\n## ")[1:] if RESULTS.exists() else []
    sections = dict(section.split("\n", 1) for section in known)
    sections[title] = "\n".join([about, "", *_here(), "", *lines])
    body = [f"## {name}\n\n{text.strip()}\n" for name, text in sections.items()]
    RESULTS.write_text("\n".join([HEAD, *body]))
    return sections[title]


def _here() -> list[str]:
    here = machine.describe()
    versions = ", ".join(f"{name} {version}" for name, version in here.versions.items())
    memory_gib = here.memory_bytes / 2**30
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, {here.cpu}, {here.cores_allowed} cores, {memory_gib:.0f} GiB, {here.os}",
        f"- {', '.join(here.cpu_features)}",
        f"- {versions}, load average {os.getloadavg()[2]:.1f} (15 minutes)",
    ]
