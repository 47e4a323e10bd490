"""Placement receipts by hand: what is counted of an assignment and of a profile, and where the two cannot both be."""

from collections.abc import Sequence

import pytest

from edgeprof.providers.placement import PlacedNode, disagreement, placement, reasons
from edgeprof.schema import LeftOperator, ProviderShare, Target

GPU = Target(provider="webgpu", runtime_name="WebGpuExecutionProvider", kind="GPU")
NPU = Target(provider="qnn", runtime_name="QNNExecutionProvider", kind="NPU")


def on(provider: str, *nodes: str) -> list[PlacedNode]:
    """Nodes as "MatMul first": operator and name."""
    names = {"gpu": GPU.runtime_name, "npu": NPU.runtime_name, "cpu": "CPUExecutionProvider"}
    return [PlacedNode(names[provider], *node.split()) for node in nodes]


PARTLY = [*on("gpu", "MatMul a", "Add b", "MatMul c"), *on("cpu", "Det d", "Shape e")]
RAN = [
    *on("cpu", "Shape e"),
    *on("gpu", "MemcpyFromHost m1", "MatMul a", "Add b", "MemcpyToHost m2"),
    *on("cpu", "Det d"),
    *on("gpu", "MemcpyFromHost m3", "MatMul c"),
]


def test_a_graph_of_which_two_nodes_stay_on_the_cpu() -> None:
    result = placement(GPU, PARTLY, RAN, {"a": 300, "b": 0, "c": 100, "d": 100, "e": 0})
    assert result.placed == (
        ProviderShare(provider="webgpu", nodes=3, macs=400, partitions=2),
        ProviderShare(provider="cpu", nodes=2, macs=100, partitions=2),
    )
    assert result.left == (
        LeftOperator(operator="Det", nodes=1, macs=100),
        LeftOperator(operator="Shape", nodes=1, macs=0),
    )
    assert (result.copies, result.disagreement) == (3, "")
    assert (result.macs_share, result.nodes_share, result.share) == (0.8, 0.6, 0.8)


def test_macs_that_are_not_known() -> None:
    result = placement(GPU, PARTLY, RAN)
    assert [one.macs for one in result.placed] == [None, None]
    assert (result.macs_share, result.share) == (None, 0.6)


def test_without_a_match_for_a_node_with_macs_no_share_is_reported() -> None:
    result = placement(GPU, PARTLY, RAN, {"a": 300, "renamed": 100})
    assert result.macs_share is None
    assert placement(GPU, PARTLY, RAN, {"a": 300, "vanished": 0}).macs_share == 1.0


@pytest.mark.parametrize("name", ["conv_token_1", "conv/MatMulAddFusion", "conv/MatMulAddFusion_token_7", "conv"])
def test_a_node_that_onnxruntime_changed_is_known_by_its_former_name(name: str) -> None:
    nodes = [*on("gpu", f"Conv {name}", "Transpose Transpose_token_0"), *on("cpu", "MatMul other")]
    assert placement(GPU, nodes, [], {"conv": 30, "other": 10}).macs_share == 0.75


def test_a_provider_that_has_nothing_comes_first_all_the_same() -> None:
    result = placement(NPU, on("cpu", "MatMul a"), [], {"a": 8})
    assert result.placed == (
        ProviderShare(provider="qnn", nodes=0, macs=0, partitions=0),
        ProviderShare(provider="cpu", nodes=1, macs=8, partitions=0),
    )
    assert result.share == 0


def test_what_a_provider_compiled_is_a_partition_of_its_own() -> None:
    """Two parts that ran one after the other, then one behind a node of the CPU."""
    nodes = [*on("npu", "MatMul a", "Add b", "MatMul c"), *on("cpu", "Det d")]
    parts = [f"QNNExecutionProvider_4841480161828261718_{number} part{number}" for number in (1, 2, 3)]
    ran = [*on("npu", *parts[:2]), *on("cpu", "Det d"), *on("npu", parts[2])]
    result = placement(NPU, nodes, ran)
    assert [one.partitions for one in result.placed] == [3, 1]
    assert result.disagreement == ""


@pytest.mark.parametrize(
    ("nodes", "ran", "told"),
    [
        (on("npu", "MatMul a"), on("cpu", "MatMul a"), "qnn was assigned nodes and ran none"),
        (on("cpu", "MatMul a"), on("npu", "QNN_1 p"), "qnn ran nodes and was assigned none"),
        (
            on("npu", "MatMul a", "Add b", "Add c"),
            [*on("npu", "Add c"), *on("cpu", "MatMul a", "Add b")],
            "2 nodes of qnn ran on cpu",
        ),
        (on("npu", "MatMul a"), on("npu", "MatMul a", "MemcpyToHost a"), ""),
        ([*on("npu", "MatMul a"), *on("cpu", "Add b")], [*on("npu", "QNN_1 p"), *on("cpu", "FusedAdd f")], ""),
    ],
)
def test_contradictions_between_assignment_and_profile(
    nodes: Sequence[PlacedNode], ran: Sequence[PlacedNode], told: str
) -> None:
    assert told in disagreement(nodes, ran, NPU)
    assert bool(disagreement(nodes, ran, NPU)) == bool(told)


# --- reasons, as they are logged -----------------------------------------------------------------------

QNN = """\
2026-11-24 17:33:13 [V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation PASSED for 1 nodes in O
\tOperator type: Expand Node name: node_expand Node index: 7

2026-11-24 17:33:13 [V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in O
\tOperator type: Attention Node name: attention Node index: 28
\tREASON : Attention: boolean attn_mask is not supported; pre-convert to a float additive bias

\x1b[0;93m2026-11-24 17:33:13 [W:onnxruntime:, qnn_model_wrapper.cc:565 CreateQnnNode] QNN.backendValidateOpConfig() \
failed for node `norm` of type `LayerNorm` with error code 3110
\x1b[m
2026-11-24 17:33:13 [V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation FAILED for 2 nodes in O
\tOperator type: DequantizeLinear Node name: norm_DequantizeLinear Node index: 97
\tOperator type: LayerNormalization Node name: norm Node index: 98
\tREASON : Failed to add node.

2026-11-24 17:33:13 [V:onnxruntime:, qnn_execution_provider.cc:1713 LogNodeSupport] Validation FAILED for 1 nodes in O
\tOperator type: Hardmax Node name: node_1 Node index: 3
\tREASON : Operators of type `Hardmax` are not supported by QNN EP.Hardmax node `node_1` will not be assigned to QNN EP
"""


def test_reasons_of_qnn() -> None:
    assert reasons(QNN) == {
        "attention": "Attention: boolean attn_mask is not supported; pre-convert to a float additive bias",
        "norm_DequantizeLinear": "backendValidateOpConfig failed with error code 3110",
        "norm": "backendValidateOpConfig failed with error code 3110",
        "node_1": "Operators of type `Hardmax` are not supported by QNN EP",
    }


def test_reasons_of_webgpu_and_of_onnxruntime_itself() -> None:
    message = """\
[I:onnxruntime:, ep.cc:91 GetCapabilityImpl] webgpu kernel not found in registries for Op type: Shape node name: s/1
[W:onnxruntime:, get_capability_utils.h:200 GetCpuPreferredNodes] EP optimization: Force fallback to CPU execution for \
node cut because the CPU execution path is deemed faster than overhead involved with execution on other EPs.
"""
    assert reasons(message) == {"s/1": "it has no kernel for it", "cut": "onnxruntime expects the CPU to be faster"}


def test_operators_left_are_grouped_by_reason() -> None:
    nodes = [*on("npu", "MatMul a"), *on("cpu", "LayerNormalization norm", "LayerNormalization other")]
    result = placement(NPU, nodes, [], log=QNN)
    assert result.left == (
        LeftOperator(operator="LayerNormalization", nodes=1, macs=None),
        LeftOperator(
            operator="LayerNormalization",
            nodes=1,
            macs=None,
            reason="backendValidateOpConfig failed with error code 3110",
        ),
    )
