from typing import Annotated

import typer


def recipes(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the recipes that `export --precision` and `quantize --recipe` accept."""
    import edgeprof
    from edgeprof.cli import console

    known = edgeprof.recipes()
    if json:
        console.show_json(known)
        return
    columns = [("recipe", "left"), ("what it does", "left"), ("needs data", "left"), ("settings", "left")]
    columns += [("cosine", "right"), ("first choice", "right"), ("perplexity", "right")]
    rows = []
    for row in known:
        settings = ((name, getattr(row.settings, name)) for name in row.settings.__struct_fields__)
        chosen = [f"{name.replace('_', ' ')} {value}" for name, value in settings if value is not None]
        limits = [f">= {row.limits.cosine:g}", f">= {row.limits.top1:.0%}", f"<= {row.limits.perplexity:g}x"]
        rows.append([row.name, row.title, "yes" if row.calibrated else "", ", ".join(chosen), *limits])
    console.show_table(columns, rows)
