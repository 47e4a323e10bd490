"""The canaries' work is what their docstring says, and leaves no memory behind."""

import onnx

from edgeprof.measure import canary, memory


def test_the_product_is_one_of_two_inputs() -> None:
    model = onnx.load(canary.PRODUCT)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("MatMul", ["x", "w"], ["y"])
    assert not model.graph.initializer


def test_its_memory_is_given_back() -> None:
    canary.read(2)
    before = memory.read().resident_bytes
    seen = canary.read(2)
    assert memory.read().resident_bytes - before < 2_000_000  # of 80 MB
    assert 0 < seen.vector_s < 10 and 0 < seen.matrices_s < 10
