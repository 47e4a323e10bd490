"""Smaller numbers for the weights, and for what they are multiplied by.

A recipe is a row of `RECIPES`; a new kind of recipe is one function. What it reached is counted, and nothing reached
is an error. Matrices are worked on one at a time wherever a recipe allows it, in a process of their own.
"""

from edgeprof.stages.quantize.recipes import RECIPES, Recipe, recipe
from edgeprof.stages.quantize.stage import quantize

__all__ = ["RECIPES", "Recipe", "quantize", "recipe"]
