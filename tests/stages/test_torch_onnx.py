"""The quick route from a traced program to ONNX, and the ordinary one where that is not possible."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from edgeprof.stages.export import torch_onnx


class Masked(torch.nn.Module):
    """As attention does it: masks that are combined, scores that are added in place."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = x * 2
        scores += x.flip(0)
        return (torch.where(mask.bool() & (x > 0), scores, -1.0), torch.min(scores, x))


class SharedMemory(torch.nn.Module):
    """What is changed in place is read again under its other name."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = x * 2
        column = scores[:, 0]
        scores += mask
        return (column * 1.0, scores.contiguous())


INPUTS = (torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, 6.0]]), torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))


@pytest.mark.parametrize(
    "module, known, quick",
    [
        (Masked(), torch_onnx.KNOWN, True),
        (SharedMemory(), torch_onnx.KNOWN, False),
        (Masked(), ("1.0.",), False),  # a version of torch in which nobody has looked
    ],
)
def test_either_route_gives_the_values_of_torch(
    module: torch.nn.Module, known: tuple[str, ...], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.onnx._internal.exporter import _fx_passes

    monkeypatch.setattr(torch_onnx, "KNOWN", known)
    decomposed: list[bool] = []
    original = _fx_passes.decompose_with_registry
    monkeypatch.setattr(
        _fx_passes, "decompose_with_registry", lambda *given: decomposed.append(True) or original(*given)
    )
    traced = torch.export.export(module, INPUTS, strict=False)
    model = torch_onnx.to_onnx(traced, ["x", "mask"], ["first", "second"], 24)

    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    results = session.run(None, {"x": INPUTS[0].numpy(), "mask": INPUTS[1].numpy()})
    for result, expected in zip(results, module(*INPUTS), strict=True):
        np.testing.assert_array_equal(result, expected.numpy())
    assert decomposed == ([] if quick else [True])
