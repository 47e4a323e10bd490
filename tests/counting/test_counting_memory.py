"""What onnxruntime holds in a run: buffers by hand, the arena by hand, and a real process beside the prediction."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from edgeprof import counting
from edgeprof.counting.arena import Arena, pattern_bytes, resident_bytes
from edgeprof.counting.flatten import everything
from edgeprof.counting.fusion import fused_away
from edgeprof.counting.planner import ALWAYS, AllocationPlan, Buffer, plan
from edgeprof.counting.shapes import Tensor, infer

MIB = 2**20
KIB = 2**10


def floats(kib: int) -> Tensor:
    """A tensor of so many KiB."""
    return Tensor(TensorProto.FLOAT, (kib, 256))


def held(nbytes_in_kib: int, first: int, last: int, *, output: bool = False) -> Buffer:
    return Buffer(floats(nbytes_in_kib), first, ALWAYS if output else last, output)


# --- the plan ------------------------------------------------------------------------------------------------


def planned(nodes: list[Any], shapes: dict[str, tuple[int, ...]]) -> AllocationPlan:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            helper.make_tensor(f"w{index}", TensorProto.FLOAT, dims, [0.0] * (dims[0] * dims[1]))
            for index, dims in enumerate([(8, 8), (8, 32), (32, 8), (1, 1)])
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    weights = {"w0", "w1", "w2", "w3"}
    flat = everything(graph)
    return plan(flat, infer(model, shapes), weights, fused_away(flat, weights))


def test_a_buffer_waits_for_the_next_tensor_of_its_shape() -> None:
    """a (4 x 32), b (4 x 8), c (4 x 32) takes a's place, d (4 x 8): b is still read, so d is new; y is an output."""
    built = planned(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("MatMul", ["a", "w2"], ["b"]),
            helper.make_node("MatMul", ["b", "w1"], ["c"]),
            helper.make_node("MatMul", ["c", "w2"], ["d"]),
            helper.make_node("MatMul", ["d", "w0"], ["e"]),
            helper.make_node("MatMul", ["e", "w0"], ["y"]),
        ],
        {"x": (4, 8)},
    )
    assert built.inputs_bytes == 4 * 8 * 4
    assert [(b.nbytes, b.first, b.last) for b in built.buffers] == [
        (4 * 32 * 4, 0, 3),  # a, then c
        (4 * 8 * 4, 1, 4),  # b, free after node 2, then d
        (4 * 8 * 4, 4, 5),  # e, while d is read
        (4 * 8 * 4, 5, ALWAYS),
    ]


def test_views_and_elementwise_operators_take_no_buffer() -> None:
    built = planned(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),  # over a
            helper.make_node("Flatten", ["b"], ["c"]),
            helper.make_node("MatMul", ["c", "w2"], ["y"]),
        ],
        {"x": (4, 8)},
    )
    assert [(b.nbytes, b.first, b.last) for b in built.buffers] == [(4 * 32 * 4, 0, 3), (4 * 8 * 4, 3, ALWAYS)]


def test_an_input_is_not_written_over() -> None:
    built = planned(
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("MatMul", ["a", "w0"], ["y"])], {"x": (4, 8)}
    )
    assert [b.nbytes for b in built.buffers] == [128, 128]


def test_a_sum_that_only_a_norm_reads_is_not_allocated() -> None:
    """As SkipLayerNormalization: both terms, 4 x 8 each, are there until the norm has its own buffer."""
    built = planned(
        [
            helper.make_node("MatMul", ["x", "w0"], ["a"]),
            helper.make_node("MatMul", ["x", "w0"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("LayerNormalization", ["sum", "scale"], ["norm"]),
            helper.make_node("MatMul", ["norm", "w0"], ["y"]),
        ],
        {"x": (4, 8), "scale": (8,)},
    )
    assert [(b.first, b.last) for b in built.buffers] == [(0, 3), (1, 3), (3, 4), (4, ALWAYS)]


def test_integer_products_are_allocated_only_once_scaled() -> None:
    """MatMulInteger, Cast and Mul are one node: of the three results only the last, an output, has a buffer."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "q", "z", "z"], ["product"]),
        helper.make_node("Cast", ["product"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "s"], ["y"]),
    ]
    built = planned(nodes, {"x": (8, 8)})
    assert [(b.nbytes, b.first, b.last) for b in built.buffers] == [(64, 0, 3), (4, 0, 3), (1, 0, 3), (256, 3, ALWAYS)]


def test_a_gelu_in_parts_is_one_node() -> None:
    """tanh(x + x^3) x: of four values only the last is made, while a (4 x 8) is still there."""
    built = planned(
        [
            helper.make_node("MatMul", ["x", "w0"], ["a"]),
            helper.make_node("Pow", ["a", "w3"], ["cube"]),
            helper.make_node("Add", ["a", "cube"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["tanh"]),
            helper.make_node("Mul", ["tanh", "a"], ["gelu"]),
            helper.make_node("MatMul", ["gelu", "w0"], ["y"]),
        ],
        {"x": (4, 8)},
    )
    assert [(b.first, b.last) for b in built.buffers] == [(0, 4), (4, 5), (5, ALWAYS)]


def test_a_gelu_that_onnxruntime_does_not_know_stays_in_parts() -> None:
    """a (0.5 (1 + erf a)), as torch writes it below operator set 20: the half is taken before a is multiplied."""
    built = planned(
        [
            helper.make_node("MatMul", ["x", "w0"], ["a"]),
            helper.make_node("Erf", ["a"], ["erf"]),
            helper.make_node("Add", ["erf", "w3"], ["sum"]),
            helper.make_node("Mul", ["sum", "w3"], ["half"]),
            helper.make_node("Mul", ["a", "half"], ["gelu"]),
            helper.make_node("MatMul", ["gelu", "w0"], ["y"]),
        ],
        {"x": (4, 8)},
    )
    assert [(b.first, b.last) for b in built.buffers] == [
        (0, 4),  # a
        (1, 4),  # erf, then the half
        (2, 5),  # the sum, then the GELU
        (5, ALWAYS),
    ]


# --- the arena -----------------------------------------------------------------------------------------------


def test_regions_double_and_only_what_is_handed_out_is_touched() -> None:
    """1 MiB, then 2, then 4, and the next would be 8; but a request of 20 makes it 32, and the next as large."""
    arena = Arena()
    arena.allocate(256 * KIB)
    assert arena.touched_bytes == 256 * KIB
    arena.allocate(900 * KIB)  # does not fit in what is left of the first MiB
    arena.allocate(3 * MIB)
    assert arena.regions == [MIB, 2 * MIB, 4 * MIB]
    assert arena.touched_bytes == 256 * KIB + 900 * KIB + 3 * MIB
    arena.allocate(20 * MIB)
    assert arena.regions[3] == 32 * MIB
    assert arena.next_region == 32 * MIB


def test_the_tightest_chunk_is_used_and_neighbours_merge_again() -> None:
    arena = Arena()
    one, two, three = (arena.allocate(200 * KIB) for _ in range(3))
    arena.free(one)
    arena.free(two)  # 400 KiB in one piece; 424 KiB are free behind the third
    assert arena.allocate(300 * KIB).start == 0
    assert arena.touched_bytes == 600 * KIB
    arena.free(three)
    assert arena.allocate(500 * KIB).start == 400 * KIB


def test_a_chunk_is_split_only_where_half_of_it_is_left() -> None:
    arena = Arena()
    whole = arena.allocate(700 * KIB)  # of 1,024: not split, the rest would be less than the request
    assert whole.size == MIB
    assert arena.allocate(256).region == 1


def test_small_requests_are_256_bytes() -> None:
    arena = Arena()
    arena.allocate(1)
    assert arena.touched_bytes == 256


def test_the_block_of_a_plan_uses_gaps() -> None:
    """100 and 50 at once; 40 goes where 50 was; 100 is free when 90 comes. The output is left out."""
    buffers = [held(100, 0, 2), held(50, 0, 0), held(40, 1, 4), held(90, 3, 4), held(500, 4, 0, output=True)]
    assert pattern_bytes(buffers, 5) == 150 * KIB


def test_two_runs_hold_the_pieces_of_the_first_and_the_block_of_the_second() -> None:
    """First run: 400 KiB and 300 KiB in the first MiB, from the start. The block of 700 KiB fits there again."""
    buffers = [held(400, 0, 1), held(300, 1, 2)]
    assert resident_bytes(AllocationPlan(1000, buffers), [0, 0, 0]) == 1000 + 700 * KIB
    # 300 KiB of workspace go behind both, up to 1,000. The block takes the whole MiB (what is left of it is less than
    # the block), so that in the second run the workspace needs a region of its own.
    assert resident_bytes(AllocationPlan(0, buffers), [0, 0, 300 * KIB]) == 1000 * KIB + 300 * KIB


# --- beside a real process -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "tokens", "batch"), [("bert", 512, 4), ("gpt2", 48, 16), ("vit", 197, 4)])
def test_a_real_run_holds_about_what_is_predicted(
    family: str, tokens: int, batch: int, artifacts: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    """At sizes of tens of MB, where the 1 to 2 MB that every process needs besides are a small part.

    The bound is loose: pages are 4 KiB, and buffers of threads are not predicted.
    """
    from edgeprof import profile

    folder = str(artifacts[family, "fp32"].folder)
    run = profile(
        [folder],
        seq=[tokens],
        batch=[batch],
        phase="prefill",
        rounds=1,
        max_time_s=0,
        runs=2,
        min_time_s=0.0,
        out=tmp_path,
    )
    (point,) = run.points
    predicted = point.facts.memory_predicted_bytes
    assert point.memory and predicted
    assert predicted > 10 * MIB
    assert 0.8 < point.memory.working_bytes / predicted < 1.25


def test_a_file_without_attention_has_no_workspace(tmp_path: Path) -> None:
    built = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        )
    )
    assert counting.count(built, {"x": (1024,)}).working_bytes == 2 * 4096  # x, and y in the arena


def test_the_tightest_gap_is_used_and_freed_neighbours_are_merged() -> None:
    """Five buffers in a row; the second and the fourth end, then the third between them: one gap of three."""
    first, *middle, last = [Buffer(Tensor(TensorProto.FLOAT, (64 * size,)), 0, 9) for size in (1, 2, 1, 3, 1)]
    for buffer, end in zip(middle, (0, 2, 1), strict=True):
        buffer.last = end
    small = Buffer(Tensor(TensorProto.FLOAT, (128,)), 2, 9)  # into the gap of two, not into that of three
    large = Buffer(Tensor(TensorProto.FLOAT, (64 * 4,)), 3, 9)  # into the third and the fourth
    beyond = Buffer(Tensor(TensorProto.FLOAT, (64,)), 4, 9)  # nothing is left
    assert pattern_bytes([first, *middle, last, small, large], 9) == 8 * 256
    assert pattern_bytes([first, *middle, last, small, large, beyond], 9) == 9 * 256
