"""Store the weights of several graphs once, in a child process: a recipe quantizes equal weights to equal numbers."""

from __future__ import annotations

from pathlib import Path

from edgeprof import process
from edgeprof.process import Progress
from edgeprof.schema import Record
from edgeprof.stages import graph


class SharingRequest(Record, frozen=True, kw_only=True):
    targets: dict[str, str]  # graph -> the file that receives it, all in one folder


class Shared(Record, frozen=True, kw_only=True):
    pass


def run(request: SharingRequest, progress: Progress) -> Shared:
    progress("storing shared weights once", 0.0)
    models = {target: graph.load(Path(source)) for source, target in request.targets.items()}
    graph.save_all(models, by_content=True)
    return Shared()


if __name__ == "__main__":
    process.serve(run, SharingRequest)
