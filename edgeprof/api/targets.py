"""Targets of commands on exported models: names, artifact folders, any .onnx file."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from edgeprof import counting
from edgeprof.errors import UnknownName, UsageError
from edgeprof.families import variants
from edgeprof.recipe_table import NAMES
from edgeprof.schema import OF_PHASE, Artifact, Graph, Precision, Role, WeightsSource
from edgeprof.stages import graph
from edgeprof.store import artifact_folders, load_artifact, record_beside, sha256_of, sha256_of_all

PARTS = ("model", "decoder", "encoder", "with", "past", "merged")
TREATMENTS = ("quantized", "optimized", "fp32", "fp16", "int8", "uint8", "int4", "q4", "q4f16", "q8", "bnb4")
ROLES = frozenset((*PARTS, *TREATMENTS))
"""Words of file names for a part or a precision of a model, not for the model."""

CONTAINERS = ("", "onnx", "model", "models", "snapshots")
"""Names of folders that do not name a model, either."""


def exported(targets: Sequence[str], models: Path, precision: Sequence[str] = ()) -> list[Artifact]:
    """Artifacts by name or folder, in all their precisions, or in the requested ones; "clip/vision" is one graph.

    Raises:
        UsageError: nothing is exported, or a target or precision is not.
        RunError: an artifact has no such graph.
    """
    if not targets:
        every = [load_artifact(folder) for folder in artifact_folders(models)] if models.is_dir() else []
        if not every:
            raise UsageError(f"Nothing is exported in {models} yet.", "Run: edgeprof export gpt2")
        return _in_precision(every, precision)
    chosen: list[Artifact] = []
    for target in dict.fromkeys(targets):
        whole, role = split_role(target, models)
        found = _in_precision(_of_one(whole, models), precision)
        chosen += [part(artifact, role) for artifact in found] if role else found
    return list({(artifact.location, artifact.name): artifact for artifact in chosen}.values())


def any_model(targets: Sequence[str], models: Path, precision: Sequence[str] = ()) -> list[Artifact]:
    """As `exported`, and also .onnx files, which become artifacts without a variant."""
    files = [target for target in targets if target.endswith(".onnx") or Path(target).is_file()]
    named = [target for target in targets if target not in files]
    artifacts = exported(named, models, precision) if named or not files else []
    return artifacts + [of_file(Path(file)) for file in files]


def one_model(target: str, models: Path) -> Artifact:
    """The artifact that a target names: "gpt2:int8", the folder of one precision, or an .onnx file.

    Raises:
        UsageError: there is no such model, or it is exported in several precisions and none is named.
    """
    name, precision = split(target)
    artifacts = any_model([name], models, [precision] if precision else [])
    if len(artifacts) == 1:
        return artifacts[0]
    names = [f"{artifact.name}:{artifact.precision}" for artifact in artifacts]
    raise UsageError(f"{target} is exported several times.", f"Name one: {', '.join(names)}.")


def split(target: str) -> tuple[str, str]:
    """Split a target into name and precision, which is empty where none is named; a path may contain a colon.

    >>> split("gpt2:int8"), split("gpt2")
    (('gpt2', 'int8'), ('gpt2', ''))
    """
    name, colon, precision = target.rpartition(":")
    if not colon or Path(target).exists() or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", precision):
        return target, ""
    return name, precision


def split_role(target: str, models: Path) -> tuple[str, Role | None]:
    """Split "clip/vision" into the name of a model or folder, and a role; None where the target names all graphs."""
    whole, _, last = target.rstrip("/").rpartition("/")
    role: Role | None = next((role for role in get_args(Role) if role == last), None)
    whole_model = not whole or role is None or Path(target).is_dir() or (models / target).is_dir()
    return (target, None) if whole_model else (whole, role)


def of_file(path: Path) -> Artifact:
    """As `foreign`; one of several graphs that edgeprof exported is that part of its artifact, and a static one is
    named after its model and its shape.

    Raises:
        ModelFileError: as `foreign`.
        RunError: the record beside it is damaged.
    """
    artifact, record = foreign(path), record_beside(path)
    if record is not None and len(record.graphs) > 1 and path.name in [graph.path for graph in record.graphs]:
        whole = load_artifact(path.absolute().parent)
        return part(whole, next(graph.role for graph in whole.graphs if graph.path == str(path.absolute())))
    if record is None or path.name not in [static.file for static in record.static]:
        return artifact
    return replace(artifact, name=f"{record.name}-{path.stem}", precision=record.precision, weights=record.weights)


def part(artifact: Artifact, role: Role) -> Artifact:
    """One graph of an artifact, as an artifact of its own: "clip/vision".

    Raises:
        RunError: it has no such graph.
    """
    one = artifact.only(role)
    return replace(one, params=counting.parameters(counting.read(Path(one.graph().path)))) if one.is_part else one


def parts_of(artifact: Artifact) -> list[Artifact]:
    """What is measured of an artifact: the graphs of a model's phases together, others (an image's) on their own."""
    phased = {role for roles in OF_PHASE.values() for role in roles}
    alone = [graph.role for graph in artifact.graphs if graph.role not in phased]
    if len(artifact.graphs) == 1 or not alone:
        return [artifact]
    together = [graph for graph in artifact.graphs if graph.role in phased]
    rest = [replace(artifact, graphs=tuple(together))] if len(together) > 1 else []
    return [*rest, *(part(artifact, one.role) for one in artifact.graphs if one.role in alone or not rest)]


def foreign(path: Path) -> Artifact:
    """An artifact for a file that edgeprof did not export. Its weights are counted, not read.

    Raises:
        ModelFileError: not a readable ONNX file, or its external data is missing or too short.
    """
    proto = counting.open_model(path)
    counted = counting.normalized(proto, path)
    precision, params = counting.precision(counted), counting.parameters(counted)
    inputs, outputs = counting.inputs(counted), counting.outputs(counted)
    model = graph.of_proto(proto, path)
    graph.require_external_data(model, path)
    data = graph.data_files(model)
    return Artifact(
        name=name_of(path),
        precision=Precision(recipe=precision),
        weights=WeightsSource(kind="file"),
        graphs=(
            Graph(
                path=str(path.absolute()),
                sha256=sha256_of(path),
                opset=graph.opset(model),
                inputs=inputs,
                outputs=outputs,
                count=graph.count(model),
                shared_cache=graph.shares_cache(model),
            ),
        ),
        data_files=tuple(str(file.absolute()) for file in data),
        data_sha256=sha256_of_all(data),
        params=params,
    )


def _of_one(target: str, models: Path) -> list[Artifact]:
    for root in (Path(target), models / target):
        folders = artifact_folders(root) if root.is_dir() else []
        if folders:
            return [load_artifact(folder) for folder in folders]
    names = [variant.name for variant in variants()]
    if target in names:
        raise UsageError(f"{target} is not exported yet.", f"Run: edgeprof export {target}")
    known = [folder.name for folder in models.iterdir() if folder.is_dir()] if models.is_dir() else []
    raise UnknownName("exported model, folder or .onnx file", target, sorted({*known, *names}))


def _in_precision(artifacts: list[Artifact], precision: Sequence[str]) -> list[Artifact]:
    if not precision:
        return artifacts
    chosen: list[Artifact] = []
    for name in dict.fromkeys(artifact.name for artifact in artifacts):
        for requested in dict.fromkeys(precision):
            match = [a for a in artifacts if a.name == name and a.precision == Precision.parse(requested)]
            if not match:
                raise _missing(name, requested, [str(a.precision) for a in artifacts if a.name == name])
            chosen += match
    return chosen


def _missing(name: str, precision: str, existing: Sequence[str]) -> UsageError:
    """The error for a precision that is not exported, or that is unknown."""
    if precision not in NAMES:
        return UnknownName("precision", precision, [*existing, *NAMES])
    return UsageError(f"{name} is not exported in {precision}.", f"Run: edgeprof export {name} --precision {precision}")


# --- names ---------------------------------------------------------------------------------------------


def name_of(file: Path) -> str:
    """The name of a model file: its stem, or the nearest folder that names a model where the stem does not.

    >>> name_of(Path("bert.onnx")), name_of(Path("minilm/onnx/model_quantized.onnx"))
    ('bert', 'minilm-quantized')
    >>> name_of(Path("models--owner--minilm/snapshots/c0ffee/onnx/model.onnx"))
    'minilm'
    """
    place = _place(file)
    words = file.stem.split("_")
    if "model" not in words or not ROLES.issuperset(words):
        return file.stem
    folder = next((part for part in place if not _names_no_model(part)), "")
    role = "_".join(word for word in words if word != "model")
    return "-".join(filter(None, (folder.split("--")[-1].strip(". "), role))) or file.stem


def _place(file: Path) -> list[str]:
    """The names of a file's folders, the nearest first. Links are not followed: those of a hub cache lead to hashes."""
    folders = Path(os.path.normpath(file.absolute())).parents
    return [folder.name for folder in folders if folder.parent.name != "snapshots"]  # those are hashes


def _names_no_model(folder: str) -> bool:
    return folder in NAMES or folder in CONTAINERS


def renamed(artifacts: list[Artifact]) -> list[Artifact]:
    """Give artifacts distinct names in one run: the folders distinguish those of one name and precision."""
    groups: dict[tuple[str, Precision], list[Artifact]] = {}
    for artifact in artifacts:
        groups.setdefault((artifact.name, artifact.precision), []).append(artifact)
    names: dict[int, str] = {}
    for (name, _), group in groups.items():
        prefixes = _distinguishing([_place(Path(artifact.location)) for artifact in group])
        names.update({id(one): "-".join((*prefix, name)) for one, prefix in zip(group, prefixes, strict=True)})
    return _numbered([replace(artifact, name=names[id(artifact)]) for artifact in artifacts])


def _distinguishing(places: list[list[str]]) -> list[tuple[str, ...]]:
    """For each place the fewest folders that distinguish it from the others, the outermost first."""
    levels = [level for level in zip_longest(*places, fillvalue="") if len(set(level)) > 1]
    for count in range(len(levels) + 1):
        prefixes = [tuple(filter(None, reversed(parts))) for parts in zip(*levels[:count], strict=True)]
        if len(set(prefixes)) == len(places):
            return prefixes
    return [()] * len(places)


def _numbered(artifacts: list[Artifact]) -> list[Artifact]:
    """Number the artifacts whose names are still equal, from the second on."""
    seen: Counter[tuple[str, Precision]] = Counter()
    result = []
    for artifact in artifacts:
        seen[artifact.name, artifact.precision] += 1
        number = seen[artifact.name, artifact.precision]
        result.append(artifact if number == 1 else replace(artifact, name=f"{artifact.name}-{number}"))
    return result
