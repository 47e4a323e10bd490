"""A real browser, without a window and without a network."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
)


@dataclass(frozen=True)
class Visit:
    dom: str  # as the browser built it
    console: tuple[str, ...]  # lines that the page, or the browser because of it, put on the console
    requests: tuple[str, ...]  # addresses that the page requested


def find() -> str:
    """The path of a Chromium; fails with what to install."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise AssertionError("Chromium is not installed. Run: apt-get install chromium")


def open_page(page: Path, scratch: Path) -> Visit:
    log = scratch / "net.json"
    run = subprocess.run(
        [
            find(),
            *FLAGS,
            f"--user-data-dir={scratch / 'profile'}",
            f"--log-net-log={log}",
            "--dump-dom",
            page.absolute().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Visit(
        dom=run.stdout,
        console=tuple(line for line in run.stderr.splitlines() if re.search(r"CONSOLE[:(]", line)),
        requests=_requests(log),
    )


def _requests(log: Path) -> tuple[str, ...]:
    """Addresses that the page requested, from Chromium's network log; requests of the browser itself have
    "not an origin" as its initiator."""
    events = (event.get("params", {}) for event in json.loads(log.read_text())["events"])
    return tuple(event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin")
