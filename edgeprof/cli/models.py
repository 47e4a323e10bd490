from typing import Annotated

import typer


def models(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the variants that can be exported, with their exact sizes."""
    from edgeprof.cli import console
    from edgeprof.families import family_of, variants

    rows = []
    for variant in variants():
        family = family_of(variant)
        summary = family.summary(variant)
        rows.append(
            {
                "name": variant.name,
                "family": variant.family,
                "params": family.params(variant),
                "layers": summary.layers,
                "width": summary.width,
                "heads": summary.heads,
                "vocabulary": summary.vocabulary,
                "patch": summary.patch,
                "max_tokens": variant.max_tokens,
            }
        )
    if json:
        console.show_json(rows)
        return
    columns = [(key.replace("_", " "), "left" if key in ("name", "family") else "right") for key in rows[0]]
    console.show_table(columns, [[_cell(value) for value in row.values()] for row in rows])
    note = (
        "\nWithout a maximum, any token length will do; ViT takes its tokens from the image. mixer-dense takes exactly "
        "its maximum. A local folder or owner/name on the hub is a model too."
    )
    console.show_line((note, "dim"))
    _show_static_graphs()


def _show_static_graphs() -> None:
    """Of what is exported here: shapes that providers without dynamic ones can run."""
    from edgeprof.cli import console
    from edgeprof.errors import RunError
    from edgeprof.store import MODELS, artifact_folders, load_artifact

    for folder in artifact_folders(MODELS) if MODELS.is_dir() else []:
        try:
            artifact = load_artifact(folder)
        except RunError:  # a damaged one is no reason to list nothing
            continue
        if artifact.static:
            files = ", ".join(one.file for one in artifact.static)
            console.show_line(f"{artifact.name} {artifact.precision} has static graphs: {files}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
