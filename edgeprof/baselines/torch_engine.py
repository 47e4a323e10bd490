"""The model of an artifact in PyTorch: the class of transformers, untouched, with the weights that were exported."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeprof.baselines.engine import Engine
from edgeprof.inputs import tensors
from edgeprof.stages.export.rebuild import rebuilt
from edgeprof.store import load_artifact


class Eager(Engine):
    """As it is."""

    @classmethod
    def start(cls) -> None:
        for module in ("torch", "transformers.modeling_utils"):
            importlib.import_module(module)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        import torch

        with super().running(), torch.inference_mode():
            yield

    def load(self) -> None:
        import torch

        torch.set_num_threads(self.request.threads)
        path = Path(self.request.model)
        artifact = load_artifact(path.parent)
        graph = next(one for one in artifact.graphs if Path(one.path).name == path.name)
        self.names = [spec.name for spec in graph.outputs]
        self.blueprint = rebuilt(artifact, graph.role)

    def feed(self) -> None:
        import torch

        made = {value.name: torch.from_numpy(tensors.make(value)) for value in self.request.inputs}
        self.once = self.blueprint.runner(made)

    def run(self) -> object:
        return self.once()

    def outputs(self) -> dict[str, Any]:
        return {name: tensor.numpy() for name, tensor in self.once().items() if name in self.names}


class Compiled(Eager):
    """By torch.compile, for these sizes; the first run compiles."""

    def feed(self) -> None:
        super().feed()
        self.blueprint.model.compile(dynamic=False)
