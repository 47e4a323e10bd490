from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeprof.schema import ModelSummary


def models(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the variants that can be exported, with their exact sizes."""
    import edgeprof
    from edgeprof.api.models import with_static_graphs
    from edgeprof.cli import console

    known = edgeprof.models()
    if json:
        console.show_json(known)
        return
    _show(known)
    note = (
        "\nA model without a maximum accepts any token length; tokens of ViT and DINOv2 come from the image; those of "
        "Whisper and CLIP are the text's; mixer-dense accepts exactly its maximum. A local checkpoint folder or "
        "owner/name on the hub is a model, too."
    )
    console.show_line((note, "dim"))
    for artifact in with_static_graphs():
        files = ", ".join(graph.file for graph in artifact.static)
        console.show_line(f"{artifact.name} {artifact.precision} has static graphs: {files}")


def _show(known: "Sequence[ModelSummary]") -> None:
    from edgeprof.cli import console

    fields = known[0].__struct_fields__
    columns = [(field.replace("_", " "), "left" if field in ("name", "family") else "right") for field in fields]
    console.show_table(columns, [[_cell(getattr(model, field)) for field in fields] for model in known])


def _cell(value: str | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else value
