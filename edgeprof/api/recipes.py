"""`recipes`: the quantization recipes that `export` and `quantize` apply."""

from edgeprof.recipe_table import QUANTIZATION_RECIPES
from edgeprof.schema import RecipeSummary


def recipes() -> list[RecipeSummary]:
    """List the recipes for `precision` of `export` and `recipe` of `quantize`.

    >>> [recipe.name for recipe in recipes() if recipe.calibrated]
    ['int8-static', 'a8w8', 'a16w8', 'int4-gptq']
    """
    return [
        RecipeSummary(
            name=row.name,
            title=row.title,
            calibrated=row.calibrated,
            settings=row.settings,
            limits=row.limits,
        )
        for row in QUANTIZATION_RECIPES
    ]
