"""A copy of the package, changed as a contributor changes it, and run."""

import json
import os
import shutil
import subprocess
import sys
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

    def edgeprof(self, *words: object, **environment: str) -> Any:
        """What `edgeprof WORDS... --json` prints: the copy, run in its folder."""
        done = subprocess.run(
            [sys.executable, "-m", "edgeprof", *map(str, words), "--json"],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
