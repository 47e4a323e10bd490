"""`explain`: where parameters, MACs and bytes come from; closed forms for variants, node by node for ONNX files."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgeprof import counting, store, units
from edgeprof.analysis import ledger as ledgers
from edgeprof.analysis.explain_captions import explanation_captions
from edgeprof.api.sizing import TOKENS, Sizing, require_no_sizing, usual_length
from edgeprof.api.targets import name_of, split_role
from edgeprof.errors import UnknownName, UsageError
from edgeprof.families import checkpoint, chosen_sizes, family_of, find_variant, resized, traced_variant, variants
from edgeprof.families.config_values import Undescribed
from edgeprof.inputs import LoadRequest, signature
from edgeprof.inputs.run_inputs import Inputs, load_of, of_file, of_variant, signature_of_graph, usual_sizes
from edgeprof.inputs.sizes import BY_LENGTH, cache_bytes
from edgeprof.process import Progress, silent
from edgeprof.recipe_table import recipe
from edgeprof.schema import FP32, Artifact, Cost, Explanation, Graph, Ledger, Phase, Precision, Record, Role, Variant
from edgeprof.symbols import names_in
from edgeprof.text import joined, shortened, visible


def explain(
    target: str,
    *,
    seq: Sequence[int] = (),
    batch: int | None = None,
    phase: Phase | None = None,
    precision: str | None = None,
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    models: Path = store.MODELS,
    progress: Progress = silent,
    **sizes: int | None,
) -> Explanation:
    """Explain where parameters, MACs and bytes of a model come from; needs no torch, reads no weights.

    >>> ledger = explain("gpt2", seq=[512]).ledger
    >>> ledger.total("params"), ledger.total("macs")
    (124439808, 68080238592)

    Args:
        target: a variant, a checkpoint folder, an exported name or folder, or any .onnx file.
        seq: token lengths (in decode: tokens cached); the longest that the model takes is explained, and all of them
            are in `lengths`. Default 512, or what the file has.
        batch: default 1, or what the file has.
        phase: "decode" processes one token with `seq` tokens in the KV cache. Default "prefill", or "decode" for a
            file that is one step of it.
        precision: of the weights, of variants and checkpoints; default fp32. A file has its own.
        dim: sizes of axes of a file, by symbol or by "<input>.<axis>".
        input: files whose arrays size the inputs of a file.
        models: where exported names are looked up.
        progress: called with the current step.
        sizes: `width`, `tokens`, `heads` and `cross` of models that have such an option (the mixers).

    Raises:
        UsageError: there is no such model, or it does not support the request.
        ModelFileError: not a readable ONNX file, or one without shapes.
    """
    options = chosen_sizes(sizes)
    whole, role = split_role(target, models)
    artifact = _artifact(whole, models)
    file = _file(target, artifact, role, phase)
    if file is None:
        variant = resized(_variant(target, models), **options)
        require_no_sizing(variant.name, dim or {}, input or {})
        explanation = _explain_variant(variant, tuple(seq), batch or 1, phase or "prefill", precision or FP32)
    else:
        for name in (*options, *(["precision"] if precision is not None else [])):
            raise UsageError(f"--{name} is for variants; {file} has its own.", f"Omit --{name}.")
        sizing = Sizing(dims=dict(dim or {}), files=dict(input or {}))
        opened = _OnnxFile(file, batch, phase, sizing, progress)
        if artifact is not None and role is None and len(artifact.graphs) > 1:
            explanation = _explain_file(opened, () if opened.of_one_size else tuple(seq))
            explanation = _with_other_graphs(explanation, artifact, file, whatever=bool(seq) and opened.of_one_size)
        else:
            explanation = _explain_file(opened, tuple(seq))
        if artifact is not None and role is None:
            explanation = _with_computed(explanation, artifact)
    if not explanation.lengths:
        return explanation
    return msgspec.structs.replace(explanation, captions=explanation_captions(explanation))


class _CostsAtLength(Record, frozen=True, kw_only=True):
    """The costs of a file at a token length."""

    length: int  # as --seq counts it
    ledger: Ledger
    problem: str  # why the graph does not run there; "" where nothing is known to fail


# --- targets -------------------------------------------------------------------------------------


def _artifact(target: str, models: Path) -> Artifact | None:
    """The exported model that a target names, in one of its precisions; None where it names none."""
    path = Path(target)
    folder = path if path.is_dir() else models / target
    known = target in {variant.name for variant in variants()} and not path.is_dir()
    if known or target.endswith(".onnx") or not folder.is_dir():
        return None
    artifacts = [store.load_artifact(each) for each in store.artifact_folders(folder)]
    names = sorted({artifact.name for artifact in artifacts})
    if len(names) > 1:
        raise UsageError(f"{target} contains several models.", f"Name one of them: {', '.join(names)}.")
    return artifacts[0] if artifacts else None


def _file(target: str, artifact: Artifact | None, role: Role | None, phase: Phase | None) -> Path | None:
    """The graph that a target names; None where it names a variant or a checkpoint."""
    if artifact is not None:
        return Path((artifact.graph(role) if role else artifact.graph_for(phase or "prefill")).path)
    path = Path(target)
    return path if target.endswith(".onnx") or path.is_file() else None


def _variant(target: str, models: Path) -> Variant:
    folder = Path(target).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        try:
            return checkpoint.read(folder, folder.name)[0]
        except Undescribed as problem:
            raise UsageError(problem.what, _export_first(target, folder, models)) from problem
    if target.startswith((".", "/", "~")):
        raise UsageError(f"There is no folder or file {target}.", "Check the path.")
    try:
        return find_variant(target)
    except UnknownName as problem:
        exported = [path.name for path in models.iterdir() if path.is_dir()] if models.is_dir() else []
        raise UnknownName(
            "variant, checkpoint folder or .onnx file", target, [*(v.name for v in variants()), *exported]
        ) from problem


def _export_first(target: str, folder: Path, models: Path) -> str:
    """The commands that export a checkpoint and then explain its graph, as a shell takes them."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-._") or "model"
    export, explanation = ["edgeprof", "export", target], ["edgeprof", "explain", name]
    if name != folder.name:
        export += ["--name", name]
    if models != store.MODELS:
        export += ["--out", str(models)]
        explanation += ["--models", str(models)]
    return f"Export it, then explain its graph: {shlex.join(export)}; {shlex.join(explanation)}"


# --- closed forms --------------------------------------------------------------------------------------


def _explain_variant(variant: Variant, seq: tuple[int, ...], batch: int, phase: Phase, precision: str) -> Explanation:
    family = family_of(variant)
    recipe(precision)  # raises where there is none
    if phase == "decode" and not family.caches(variant):
        raise UsageError(f"{variant.name} has no KV cache, so it cannot decode.", "Use --phase prefill.")

    def at(length: int) -> Ledger:
        return ledgers.ledger(variant, family.case(variant, phase, batch, length), precision, phase)

    most = (variant.max_tokens or TOKENS + 1) - (phase == "decode")
    requested = seq or (family.fixed_tokens(variant, phase) or min(TOKENS, most),)
    lengths = _lengths(variant, requested, phase)
    chosen = _longest(lengths, variant, phase)
    return Explanation(
        ledger=at(chosen),
        doubled=at(2 * chosen),
        crossovers=ledgers.crossovers(at),
        lengths=tuple(map(at, lengths)) if len(lengths) > 1 else (),
        notes=_notes(variant, requested, lengths, phase),
    )


def _lengths(variant: Variant, requested: Sequence[int], phase: Phase) -> tuple[int, ...]:
    """The longest possible lengths of at most the requested ones."""
    if phase == "decode":
        return tuple(dict.fromkeys(requested))
    lengths = tuple(dict.fromkeys(family_of(variant).true_tokens(variant, length) for length in requested))
    if not all(lengths):
        raise UsageError(f"No input of {variant.name} is as short as --seq {min(requested)}.", "Use a longer --seq.")
    return lengths


def _longest(lengths: Sequence[int], variant: Variant | None, phase: Phase) -> int:
    """The longest length that the model supports; if it supports none of them, the shortest."""
    most = _most(variant, phase) if variant else None
    fitting = [n for n in lengths if most is None or n + (phase == "decode") <= most]
    return max(fitting, default=min(lengths))


def _most(variant: Variant, phase: Phase) -> int | None:
    """The maximum length of a variant; None for one of a single length, which is another model at another length."""
    return None if family_of(variant).fixed_tokens(variant, phase) else variant.max_tokens


def _notes(variant: Variant, requested: Sequence[int], lengths: Sequence[int], phase: Phase) -> tuple[str, ...]:
    family = family_of(variant)
    notes = [*filter(None, (family.length_note(variant, phase),)), *family.notes(variant)]
    most, only = _most(variant, phase), family.fixed_tokens(variant, phase)
    if most is not None and max(lengths) + (phase == "decode") > most:
        notes.append(
            f"{variant.name} takes at most {units.counted(most, 'token')}: beyond that the formulas still hold, "
            "and export and profile refuse."
        )
    if only is not None and tuple(lengths) != (only,):
        length = units.counted(only, "token")
        notes.append(f"{variant.name} has {length}: at another length it is another model, with other weights.")
    return (*notes, *_rounded(requested, lengths))


def _rounded(requested: Sequence[int], lengths: Sequence[int]) -> list[str]:
    if len(requested) > 1 or tuple(requested) == tuple(lengths):
        return []
    return [f"{requested[0]:,} tokens are requested; the largest input with at most that many has {lengths[0]:,}."]


# --- files ---------------------------------------------------------------------------------------------


class _OnnxFile:
    """An ONNX file, and its costs at a length."""

    def __init__(self, path: Path, batch: int | None, phase: Phase | None, sizing: Sizing, progress: Progress) -> None:
        self.path, self.batch, self.sizing, self.progress = path, batch, sizing, progress
        self.model = counting.read(path)
        recorded = _recorded(path)
        self.artifact = recorded[0].only(recorded[1].role) if recorded else None
        self.usual = usual_sizes(recorded[0]) if recorded else {}
        self.variant = traced_variant(self.artifact) if self.artifact else None
        self.precision = self.artifact.precision if self.artifact else Precision(recipe=counting.precision(self.model))
        self.signature = signature(recorded[1].inputs) if recorded and self.variant else signature_of_graph(self.model)
        no_prefill = self.signature.no_prefill
        if phase == "prefill" and no_prefill:
            raise UsageError(f"{path.name} {no_prefill}.", "Use --phase decode.")
        if phase == "decode" and self.signature.no_decode:
            raise UsageError(f"{path} {self.signature.no_decode}, so it cannot decode.", "Use --phase prefill.")
        self.phase: Phase = phase or ("decode" if no_prefill else "prefill")

    def at(self, length: int | None, *, instead: bool = False) -> _CostsAtLength:
        """The costs at a token length; None: at that of the file or --dim.

        Args:
            instead: ignore the token length of --dim.
        """
        self.progress(f"counting at {units.counted(length, 'token')}" if length else "counting", None)
        dims = {name: size for name, size in self.sizing.dims.items() if not instead or name not in self._by_length()}
        inputs = self._inputs(length, dims)
        sizes, artifact = inputs.sizes, self.artifact
        counted = counting.count(self.model, sizes.shapes, inputs.flags, progress=self.progress)
        ledger = ledgers.of_graph(
            artifact.name if artifact else name_of(self.path),
            counted,
            load=load_of(sizes, counted.attended),
            precision=self.precision,
            cache_bytes=cache_bytes(self.signature, sizes),
        )
        return _CostsAtLength(
            length=length or ledger.load.length, ledger=ledger, problem=next(iter(counted.problems), "")
        )

    def _by_length(self) -> set[str]:
        """Names of --dim for axes that a token length sizes."""
        return {
            name
            for value, axis, dim in self.signature.axes_of(*BY_LENGTH)
            for name in (f"{value.name}.{axis}", *names_in(str(dim)))
        }

    @property
    def of_one_size(self) -> bool:
        """Whether no token length sizes it: an encoder of images, or of audio of one duration."""
        return self.variant is None and not self.signature.sized_by_length and not self.signature.past

    @property
    def sized(self) -> bool:
        """Whether the token length follows from the file, from --dim or from an array."""
        sized = self._by_length() & self.sizing.dims.keys() or any(
            value.name in self.sizing.files for value, _, _ in self.signature.axes_of(*BY_LENGTH)
        )
        return self.variant is None and (bool(sized) or not self.signature.sized_by_length)

    def _inputs(self, length: int | None, dims: Mapping[str, int]) -> Inputs:
        if self.variant is None or length is None:
            load = LoadRequest(phase=self.phase, batch=self.batch, length=length)
            return of_file(self.signature, load, dims=dims, given=self.sizing.files, usual=self.usual)
        require_no_sizing(str(self.path), self.sizing.dims, self.sizing.files)
        case = family_of(self.variant).case(self.variant, self.phase, self.batch or 1, length)
        return of_variant(self.signature, self.variant, case)


def _explain_file(file: _OnnxFile, seq: tuple[int, ...]) -> Explanation:
    if not seq and file.sized:
        costs = file.at(None)
        return Explanation(ledger=costs.ledger, doubled=_doubled(file, costs), notes=tuple(_unfit([costs])))
    most = usual_length(file.signature)
    if file.artifact and file.artifact.max_tokens and file.signature.axes_of("tokens", "past"):
        most = min(most, file.artifact.max_tokens - (file.phase == "decode"))
    requested = seq or (most,)
    lengths = _lengths(file.variant, requested, file.phase) if file.variant else tuple(dict.fromkeys(requested))
    swept = [file.at(length) for length in lengths]
    if not seq and swept[0].problem:  # the default is a guess: use the longest of its halves that runs
        swept += [next((costs for costs in map(file.at, _halves(most)) if not costs.problem), swept[0])]
    fewest = min(len(costs.ledger.uncounted) for costs in swept)
    usable = [costs for costs in swept if len(costs.ledger.uncounted) == fewest and not costs.problem] or swept
    chosen = _longest([costs.ledger.load.length for costs in usable], file.variant, file.phase)
    main = next((costs for costs in usable if costs.ledger.load.length == chosen), usable[-1])
    return Explanation(
        ledger=main.ledger,
        doubled=_doubled(file, main),
        lengths=tuple(costs.ledger for costs in usable) if len(usable) > 1 else (),
        notes=(*(_rounded(requested, lengths) if file.variant else ()), *_unfit(swept)),
    )


def _halves(length: int) -> list[int]:
    return [length >> step for step in range(1, length.bit_length())]


def _doubled(file: _OnnxFile, counted: _CostsAtLength) -> Ledger | None:
    """The costs at twice the length, unless the file fixes it."""
    if not counted.length or not file.signature.sized_by_length:
        return None
    try:
        twice = file.at(2 * counted.length, instead=True)
    except UsageError:  # a size from the file or --input does not grow
        return None
    grown = not twice.problem and len(twice.ledger.uncounted) == len(counted.ledger.uncounted)
    return twice.ledger if grown else None


def _unfit(counted: Sequence[_CostsAtLength]) -> list[str]:
    unfit = (
        f"The graph does not run at {units.counted(costs.length, 'token')}: {costs.problem}"
        for costs in counted
        if costs.problem
    )
    return list(dict.fromkeys(unfit))


def _with_other_graphs(explanation: Explanation, artifact: Artifact, file: Path, *, whatever: bool) -> Explanation:
    """The explanation of one of several graphs, with the weights that only the others read: each counts once.

    Args:
        whatever: a token length was requested, which does not size this graph.
    """
    shown = next(graph for graph in artifact.graphs if graph.path == str(file))
    others = [graph for graph in artifact.graphs if graph != shown]
    known, rest = counting.stored(counting.read(file)), {}
    for graph in others:
        rest.update(counting.stored(counting.read(Path(graph.path))))
    only = {place: amounts for place, amounts in rest.items() if place not in known and amounts[0]}
    roles = [graph.role for graph in others]
    cost = Cost(
        name=f"in {joined(roles)} alone",
        count=len(only),
        params=sum(params for params, _ in only.values()),
        weights_bytes=sum(size for _, size in only.values()),
    )

    def whole(ledger: Ledger) -> Ledger:
        costs = (*ledger.costs, cost) if only else ledger.costs
        return msgspec.structs.replace(ledger, name=artifact.name, costs=costs)

    ways = ", ".join(f"edgeprof explain {artifact.name}/{role}" for role in roles)
    size = ", whose inputs have one size, whatever --seq says" if whatever else ""
    note = f"Of {len(artifact.graphs)} graphs this is the {shown.role}{size}; MACs of the others: {ways}"
    return msgspec.structs.replace(
        explanation,
        ledger=whole(explanation.ledger),
        doubled=whole(explanation.doubled) if explanation.doubled else None,
        lengths=tuple(map(whole, explanation.lengths)),
        notes=(*explanation.notes, note),
    )


def _with_computed(explanation: Explanation, artifact: Artifact) -> Explanation:
    """The explanation, with a note where graphs store more numbers than the model has parameters."""
    more = explanation.ledger.total("params") - artifact.params
    if more <= 0 or artifact.precision.recipe != FP32:
        return explanation
    note = (
        f"{artifact.name} has {artifact.params:,} parameters; {units.counted(more, 'number')} more are stored, "
        "in tables that the export computed or in a second form of a weight."
    )
    return msgspec.structs.replace(explanation, notes=(*explanation.notes, note))


def _recorded(path: Path) -> tuple[Artifact, Graph] | None:
    """The artifact that a file belongs to, and its graph; None for a file that edgeprof did not export."""
    folder = path.parent
    if not (folder / store.ARTIFACT_FILE).is_file():
        return None
    artifact = store.load_artifact(folder)
    return next(((artifact, graph) for graph in artifact.graphs if Path(graph.path) == path.absolute()), None)


# --- pictures ------------------------------------------------------------------------------------------


def draw_explanation(explanation: Explanation, *, out: Path = store.REPORTS, progress: Progress = silent) -> list[Path]:
    """Draw an explanation of several token lengths: MACs and memory, by component.

    >>> [path.name for path in draw_explanation(explain("gpt2", seq=[64, 128, 256])) if path.suffix == ".png"]
    ['explain-macs.png', 'explain-memory.png']

    Args:
        explanation: one with `lengths`.
        out: the folder that receives `explain-<name>/`.

    Returns:
        The paths of the page and its pictures.

    Raises:
        MissingExtra: matplotlib is not installed here.
        StorageError: the files cannot be written.
    """
    from edgeprof import report

    report.require_extra()
    name = shortened(visible(explanation.ledger.name), 100).replace("/", "-")
    return report.write_explanation(out / f"explain-{name}", explanation, progress=progress)
