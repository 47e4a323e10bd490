"""Quantization: weights, and the activations they are multiplied by, in fewer bits.

A recipe is a row of `edgeprof.recipe_table`; a new kind of recipe is also one function, in `ALGORITHMS`. A receipt
counts what it quantized; a recipe that quantizes nothing is an error. Wherever a recipe allows it, one matrix is in
memory at a time, in a process of its own.
"""

from edgeprof.stages.quantize.stage import Calibrated, quantize

__all__ = ["Calibrated", "quantize"]
