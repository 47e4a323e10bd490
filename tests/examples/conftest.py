import re
from pathlib import Path

import pytest
from checkouts import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def added(request: pytest.FixtureRequest) -> str:
    """What an example adds: the part of its file before the last dividing line, which begins the test."""
    return re.split(r"^# --- .*\n", request.path.read_text(), flags=re.MULTILINE)[-2].strip("\n") + "\n"
