"""Two models in one process: neither takes the cores that the other needs."""

import time
from pathlib import Path

import pytest
from toys import QUICK, save_matmuls, x

from edgeprof.measure.latency_worker import OnnxModel
from edgeprof.measure.pair_worker import blocks_of_load
from edgeprof.schema import PairRequest, Request

LEFT_ALONE_S = 0.05


@pytest.fixture
def products(tmp_path: Path) -> Request:
    model = save_matmuls(tmp_path / "products.onnx", width=256, layers=4)
    return Request(model=str(model), threads=2, inputs=(x(1, 256, 256),), stopping=QUICK)


def processor_s() -> float:
    """What this process computes while nothing runs."""
    before = time.process_time()
    time.sleep(LEFT_ALONE_S)
    return time.process_time() - before


def test_the_threads_of_both_rest_after_a_block(products: Request) -> None:
    blocks = blocks_of_load(PairRequest(a=products, b=products), 0)
    block = next(blocks)
    assert min(map(len, (block.a_s, block.b_s))) >= 1
    assert processor_s() < LEFT_ALONE_S / 5  # a thread that spins takes all of it


def test_a_model_alone_keeps_the_default(products: Request) -> None:
    model = OnnxModel(products)
    model.feed()
    model.first_run()
    settings = model.session.get_session_options()
    with pytest.raises(RuntimeError, match="force_spinning_stop"):
        settings.get_session_config_entry("session.force_spinning_stop")
