"""edgeprof: what a transformer costs on a device, at a token length, in a precision, and why.

    from edgeprof import explain, export, quantize, profile, load_run, write_report

    export(targets, ...)        ONNX artifacts of variants or checkpoints              -> list[Export]
    quantize(targets, ...)      smaller files of fp32 artifacts or .onnx files         -> list[Export]
    verify(targets, ...)        artifacts against the results of PyTorch               -> list[Artifact]
    profile(targets, seq=...)   latency and memory, point by point                     -> Run
    why(a, b, ...)              why one of two files is faster than the other          -> list[Why]
    compare(a, b, ...)          B against A: ratios with intervals, and what is shown  -> Comparison
    fit(target, memory=)        the longest input that fits a memory limit             -> list[Fit]
    explain(target, seq=...)    where parameters, MACs and bytes come from             -> Explanation
    draw_explanation(explained) its figures and page                                   -> list of paths
    load_run(name)              an earlier run                                         -> Run
    write_report(name)          figures and pages                                      -> path of index.html
    models()                    variants that can be exported, with their sizes        -> list[ModelSummary]
    recipes()                   quantization recipes, with their limits                -> list[RecipeSummary]
    devices()                   where a model can run here                             -> list[Device]
    fleet_devices()             the devices that are somewhere else, and whether they answer -> list[FleetDeviceState]
    probe()                     what this device can do at most: products, memory, overhead    -> Probe
    predict(targets, device=)   latency and memory on a device that was probed                 -> Predictions
    choose_buckets(target)      static lengths for requests of many lengths            -> Buckets
    check_claims(run)           common claims about transformers                       -> list[CheckedClaim]

Functions that take long accept `progress`, a callback that receives the current step and the share that is done. All
raise EdgeprofErrors. Each name is loaded when it is first used, so importing the package costs nothing; the public
names are listed once, in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
