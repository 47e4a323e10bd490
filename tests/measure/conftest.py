from pathlib import Path

import pytest
from toys import save_matmuls


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few hundred bytes: x [batch_size, sequence_length, 8] -> y."""
    return save_matmuls(tmp_path_factory.mktemp("toy") / "toy.onnx", width=8, layers=2)
