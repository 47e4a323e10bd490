"""edgeprof: what a transformer costs on a device, at a token length, in a precision, and why.

    from edgeprof import explain, export, quantize, profile, load_run, write_report

    export(targets, ...)        variants or checkpoints -> verified ONNX artifacts     -> list[Export]
    quantize(targets, ...)      fp32 artifacts or .onnx files -> smaller ones          -> list[Export]
    verify(targets, ...)        artifacts against the values PyTorch gave              -> list[Artifact]
    profile(targets, seq=...)   latency and memory, point by point                     -> Run
    why(a, b, ...)              what makes one of two files faster than the other      -> list[Why]
    explain(target, seq=...)    where parameters, MACs and bytes come from             -> Explanation
    draw_explanation(found)     its figures and page                                   -> list of paths
    load_run(name)              a run that was made before                             -> Run
    write_report(name)          figures and pages                                      -> path of index.html
    models()                    variants that can be exported, with their sizes         -> list[ModelSummary]
    recipes()                   how `quantize` can make models smaller                 -> list[RecipeSummary]
    devices()                   where a model can run here                             -> list[Device]
    choose_buckets(target)      static lengths for requests of many lengths            -> Buckets
    check_claims(run)           what is said of transformers, claim by claim           -> list[CheckedClaim]

Functions that take long accept `progress`, a callback that receives what is being done and the share that is done. All
raise EdgeprofErrors. Each name is loaded when it is first used, so importing the package costs nothing; the public
names are listed once, in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
