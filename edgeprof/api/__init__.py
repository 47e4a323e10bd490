"""The verbs as functions, with the names, defaults and errors of the commands.

    export(targets, ...)        variants or checkpoints -> verified ONNX artifacts     -> list[Export]
    quantize(targets, ...)      fp32 artifacts or .onnx files -> smaller ones          -> list[Export]
    verify(targets, ...)        artifacts against the values PyTorch gave              -> list[Artifact]
    profile(targets, seq=...)   latency and memory, point by point                     -> Run
    why(a, b, ...)              what makes one of two files faster than the other      -> list[Why]
    explain(target, seq=...)    where parameters, MACs and bytes come from             -> Explanation
    draw_explanation(found)     its figures and page                                   -> list of paths
    load_run(name)              a run that was made before                             -> Run
    write_report(name)          figures and pages                                      -> path of index.html
    devices()                   where a model can run here                             -> list[Device]
    choose_buckets(target)      static lengths for requests of many lengths            -> Buckets
    check_claims(run)           what is said of transformers, claim by claim           -> list[CheckedClaim]

Long ones take `progress`, a callback told what is being done and which share is done. All raise EdgeprofErrors.
Each is loaded when first used: a verb does not wait for the rooms of the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeprof.api.bucketing import choose_buckets
    from edgeprof.api.claiming import check_claims
    from edgeprof.api.comparing import why
    from edgeprof.api.discovering import devices
    from edgeprof.api.explaining import draw_explanation, explain
    from edgeprof.api.exporting import Export, export
    from edgeprof.api.profiling import profile
    from edgeprof.api.quantizing import quantize
    from edgeprof.api.reporting import write_report
    from edgeprof.api.runs import Run, load_run
    from edgeprof.api.verifying import verify

__all__ = [
    "Export",
    "Run",
    "check_claims",
    "choose_buckets",
    "devices",
    "draw_explanation",
    "explain",
    "export",
    "load_run",
    "profile",
    "quantize",
    "verify",
    "why",
    "write_report",
]

_MODULE = {
    "Export": "exporting",
    "Run": "runs",
    "check_claims": "claiming",
    "choose_buckets": "bucketing",
    "devices": "discovering",
    "draw_explanation": "explaining",
    "explain": "explaining",
    "export": "exporting",
    "load_run": "runs",
    "profile": "profiling",
    "quantize": "quantizing",
    "verify": "verifying",
    "why": "comparing",
    "write_report": "reporting",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'edgeprof.api' has no attribute '{name}'")
    return getattr(import_module(f"edgeprof.api.{_MODULE[name]}"), name)
