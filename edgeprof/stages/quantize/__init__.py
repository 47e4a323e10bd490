"""Quantization: weights, and the activations they are multiplied by, in fewer bits.

A recipe is a row of `RECIPES`; a new kind of recipe is one function. A receipt counts what it quantized; a recipe that
quantizes nothing is an error. Wherever a recipe allows it, one matrix is in memory at a time, in a process of its own.
"""

from edgeprof.stages.quantize.recipes import RECIPES, Recipe, recipe
from edgeprof.stages.quantize.stage import quantize

__all__ = ["RECIPES", "Recipe", "quantize", "recipe"]
