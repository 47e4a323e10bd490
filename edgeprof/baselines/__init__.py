"""Other runtimes, measured beside onnxruntime: the same models, sizes, threads, visits and statistics.

A baseline is a row of a table (`table.py`) and an engine, which loads a model and runs it (`torch_engine.py`, ...). Its
points have the provider that the row names, and a runtime other than onnxruntime.
"""

from edgeprof.baselines.table import BASELINES, Baseline, chosen

__all__ = ["BASELINES", "Baseline", "chosen"]
