"""Small files as people have them; `make_cases.py` builds them, each by the function of its name."""

from pathlib import Path

import make_cases
import pytest


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds `<case>.onnx` of every case."""
    folder = tmp_path_factory.mktemp("cases")
    make_cases.write(vars(make_cases), folder)
    return folder
