"""A copy of the package, changed as a contributor changes it, and run."""

import csv
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import edgeprof


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        package = Path(edgeprof.__file__).parent
        shutil.copytree(package, folder / "edgeprof", ignore=shutil.ignore_patterns("__pycache__"))

    def add_file(self, path: str, text: str) -> None:
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)

    def replace(self, path: str, old: str, new: str) -> None:
        """Edit one place of a file."""
        text = (self.folder / path).read_text()
        assert text.count(old) == 1
        (self.folder / path).write_text(text.replace(old, new))

    def add_row(self, path: str, table: str, row: str) -> None:
        """Append a row to the table that begins with these words."""
        text = (self.folder / path).read_text()
        start = text.index(table)
        end = text.index("\n)\n", start)
        (self.folder / path).write_text(f"{text[:end]}\n{textwrap.indent(row.rstrip(), '    ')},{text[end:]}")

    def edgeprof(self, *words: object, code: int = 0) -> Any:
        """What `edgeprof WORDS... --json` prints: the copy, run in its folder."""
        done = subprocess.run(
            [sys.executable, "-m", "edgeprof", *map(str, words), "--json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout or "null")

    def profile(self, *words: object, code: int = 0) -> dict[tuple[str, str], dict[str, str]]:
        """The rows of measurements.csv by provider and precision, of a run as short as it can be."""
        short = ("--rounds", 1, "--max-time", 0, "--runs", 2, "--min-time", 0)
        run = self.edgeprof("profile", *words, *short, code=code)
        with (self.folder / run["folder"] / "measurements.csv").open() as table:
            return {(row["provider"], row["precision"]): row for row in csv.DictReader(table)}
