"""What transformers' own ONNX exporter changes in a model and in its trace: the last route, slow but broad.

These interfaces are private: they are used where the installed version has all of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.errors import ExportError

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch
    from numpy.typing import NDArray

EXPORTERS, VISION = "transformers.exporters", "transformers.vision_utils"


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Replace what torch.export and torch.onnx cannot express, for the duration of a trace and its translation.

    Raises:
        ExportError: this version of transformers has no exporter.
    """
    _require()
    from transformers.exporters.utils import apply_patches

    with apply_patches("dynamo"), apply_patches("onnx"):
        yield


def patch_constants(vision: Any, grid: NDArray[Any]) -> dict[str, Any]:
    """What a tower of vision computes from the grid of its patches, by the names under which it takes it precomputed.

    Lengths are arrays of numpy: a trace reads them as numbers.

    Args:
        vision: the configuration of the tower.

    Raises:
        ExportError: this version of transformers takes nothing precomputed.
    """
    if importlib.util.find_spec(VISION) is None:
        raise ExportError(
            "This version of transformers computes the places of patches while it runs.",
            "Install transformers 5.23 or newer.",
        )
    import torch
    from transformers import vision_utils

    tensor, merge = torch.from_numpy(grid), vision.spatial_merge_size
    constants: dict[str, Any] = {
        "position_ids": vision_utils.get_vision_position_ids(tensor, merge),
        "cu_seqlens": vision_utils.get_vision_cu_seqlens(tensor).numpy(),
    }
    if getattr(vision, "window_size", None):
        index, ends = vision_utils.get_vision_window_index(tensor, merge, vision.window_size, vision.patch_size)
        constants |= {"window_index": index, "cu_window_seqlens": ends.numpy()}
    return constants


def to_onnx(
    traced: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], opset: int
) -> ir.Model:
    """Translate a traced program with transformers' own translations, and name its inputs and outputs in order."""
    import torch
    from transformers.exporters import exporter_onnx
    from transformers.exporters.utils import apply_fx_node_fixes

    apply_fx_node_fixes("onnx", traced.graph_module)
    program = torch.onnx.export(
        traced,
        (),
        dynamo=True,
        input_names=list(inputs),
        output_names=list(outputs),
        custom_translation_table=exporter_onnx._ONNX_TRANSLATION_TABLE,
        opset_version=opset,
        optimize=False,
        verbose=False,
    )
    assert program is not None
    exporter_onnx._name_graph_outputs(program.model.graph, list(outputs))
    exporter_onnx.apply_onnx_ir_fixes(program)
    return program.model


def _require() -> None:
    if importlib.util.find_spec(EXPORTERS) is None:
        raise ExportError(
            "This version of transformers has no exporter of its own.", "Install transformers 5.23 or newer."
        )
