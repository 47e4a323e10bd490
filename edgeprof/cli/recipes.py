from typing import Annotated

import typer


def recipes(
    json: Annotated[bool, typer.Option("--json", help="Print the recipes as JSON.")] = False,
) -> None:
    """List the recipes that `--precision` and `quantize --recipe` take."""
    from edgeprof.cli import console
    from edgeprof.stages.quantize import RECIPES

    if json:
        console.show_json(
            [
                {
                    "name": row.name,
                    "title": row.title,
                    "calibrated": row.calibrated,
                    "settings": row.settings,
                    "limits": row.limits,
                }
                for row in RECIPES
            ]
        )
        return
    columns = [("recipe", "left"), ("what it does", "left"), ("needs data", "left"), ("settings", "left")]
    columns += [("cosine", "right"), ("first choice", "right"), ("perplexity", "right")]
    rows = []
    for row in RECIPES:
        settings = {name: getattr(row.settings, name) for name in row.settings.__struct_fields__}
        told = [f"{name.replace('_', ' ')} {value}" for name, value in settings.items() if value is not None]
        limits = [f">= {row.limits.cosine:g}", f">= {row.limits.top1:.0%}", f"<= {row.limits.perplexity:g}x"]
        rows.append([row.name, row.title, "yes" if row.calibrated else "", ", ".join(told), *limits])
    console.show_table(columns, rows)
