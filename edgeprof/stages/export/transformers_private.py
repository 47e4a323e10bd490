"""What transformers' own ONNX exporter changes in a model and in its trace: the last route, slow but broad.

These interfaces are private: they are used where the installed version has all of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgeprof.errors import ExportError

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

EXPORTERS = "transformers.exporters"


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
