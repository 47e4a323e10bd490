"""The verbs as functions, with the names, defaults and errors of the commands.

    export(targets, ...)        variants or checkpoints -> verified ONNX artifacts     -> list[Export]
    verify(targets, ...)        artifacts against the values PyTorch gave              -> list[Artifact]
    profile(targets, seq=...)   latency and memory, point by point                     -> Run
    load_run(name)              a run that was made before                             -> Run
    write_report(name)          figures and pages                                      -> path of index.html

Long ones take `progress`, a callback told what is being done and which share is done. All raise EdgeprofErrors.
"""

from edgeprof.api.exporting import Export, export
from edgeprof.api.profiling import profile
from edgeprof.api.reporting import write_report
from edgeprof.api.runs import Run, load_run
from edgeprof.api.verifying import verify

__all__ = ["Export", "Run", "export", "load_run", "profile", "verify", "write_report"]
