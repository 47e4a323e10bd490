"""`export`: from a name or a checkpoint to verified artifacts, one per precision; nothing is done twice."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgeprof.api.apply_recipe import Evaluation, key_of, quantized, require_data, save_optimized
from edgeprof.api.artifact_cache import alone, make, up_to_date_in
from edgeprof.api.capacity import too_large
from edgeprof.api.export_source import HUB_NAME, Source, fetched_weights, resolve
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.static_export import Shapes, fix, shapes_of
from edgeprof.errors import EdgeprofError, ExportError, ModelFileError, TooLarge, UsageError, VerificationError
from edgeprof.families import chosen_sizes
from edgeprof.kept_process import KeptProcess
from edgeprof.process import Progress, part, silent
from edgeprof.recipe_table import precisions_of
from edgeprof.schema import FP32, Artifact, Logits, Precision, Record
from edgeprof.stages import export as export_stage
from edgeprof.stages import genai_folder
from edgeprof.stages.optimize import optimize
from edgeprof.stages.samples import COUNT, require
from edgeprof.stages.simplify import simplify
from edgeprof.stages.weights import Mode, Weights
from edgeprof.store import MODELS, content_key, reference_file, require_name


class Export(Record, frozen=True, kw_only=True):
    """The outcome for one target in one precision. `error` is set, and `artifact` not, when it failed."""

    target: str
    precision: str
    artifact: Artifact | None = None
    up_to_date: bool = False
    note: str = ""  # what a user should know about the weights
    error: str = ""


class _Request(Record, frozen=True, kw_only=True):
    """The arguments of one call that hold for all targets."""

    quantized: tuple[Precision, ...]  # besides fp32
    evaluation: Evaluation
    sizes: dict[str, int]  # of `resized`
    weights: Mode
    logits: Logits
    opset: int
    portable: bool
    out: Path
    force: bool
    save_optimized: bool
    shapes: Shapes | None  # of static graphs
    genai: bool
    keep_going: bool


def export(
    targets: Sequence[str],
    *,
    precision: Sequence[str] = (FP32,),
    weights: Mode = "auto",
    logits: Logits = "all",
    opset: int = export_stage.OPSET,
    portable: bool = False,
    name: str | None = None,
    out: Path = MODELS,
    force: bool = False,
    calibration: str | None = None,
    samples: int = COUNT,
    strict_accuracy: bool = False,
    save_optimized: bool = False,
    static: bool = False,
    seq: Sequence[int] = (),
    batch: Sequence[int] = (1,),
    phase: PhaseChoice = "both",
    genai: bool = False,
    keep_going: bool = False,
    progress: Progress = silent,
    **sizes: int | None,
) -> list[Export]:
    """Export variants or checkpoints to ONNX: verified, simplified, and quantized where a precision asks for it.

    >>> [str(one.artifact.precision) for one in export(["bert-tiny"], precision=["fp32", "int8"])]
    ['fp32', 'int8']

    Args:
        targets: names of `edgeprof models`; checkpoints as `./folder`, `./file.gguf` or `owner/name`.
        precision: "fp32" and names of `edgeprof recipes`.
        weights: "auto" uses pretrained weights where cache or hub have them, else random ones, with a note.
        logits: "last" makes a decoder's LM head run on the last position only.
        opset: ONNX operator set version.
        portable: keep a decoder's attention in operators of the ONNX standard, for providers that lack
            GroupQueryAttention; such a model is called <name>-portable. Static graphs are made of it.
        name: of the folder below `out`, in place of the variant's own; for one target.
        out: the folder that receives `<name>/<precision>/`.
        force: export again what is up to date.
        calibration: data to calibrate and evaluate recipes with: "text" (shipped; the default where the weights have a
            tokenizer), a .txt, .npy or .npz file, a folder of images, or "random".
        samples: number of samples for each of both purposes, at most.
        strict_accuracy: a recipe that exceeds its accuracy limits is an error.
        save_optimized: also write the graph that onnxruntime runs: optimized.onnx next to each model.
        static: also write graphs of one shape, without dynamic dimensions, that read the weights of `model.onnx`:
            prefill-<batch>x<tokens>.onnx and, with a cache of fixed size, decode-<batch>x<past>.onnx; of images
            prefill-<batch>.onnx, in the size that the model was trained on.
        seq, batch, phase: token lengths, batch sizes and phases of the static graphs; no lengths for images.
        genai: also write genai_config.json and the files of the tokenizer, with which onnxruntime-genai runs a decoder.
        keep_going: continue with the next target or recipe when one fails; its error is in the result.
        progress: called with the current step.
        sizes: `width`, `tokens`, `heads` and `cross` of models that have such an option (the mixers).

    Returns:
        One Export per target and precision, in order.

    Raises:
        UsageError: an unknown name or precision, or an option that a target does not have.
        TooLarge: memory or disk is too small for a target. Both are raised before anything is exported.
        EdgeprofError: an export failed, and `keep_going` is off.
    """
    if not targets:
        raise UsageError("Nothing to export.", "Name a variant, for example: edgeprof export gpt2")
    if name and len(targets) > 1:
        raise UsageError("--name is for a single target.", "Export them one by one.")
    precisions = precisions_of(precision)
    require(calibration)
    export_stage.require_opset(opset)
    export_stage.require_extra()
    request = _Request(
        quantized=precisions,
        evaluation=Evaluation(data=calibration, count=samples, strict=strict_accuracy),
        sizes=chosen_sizes(sizes),
        weights=weights,
        logits=logits,
        opset=opset,
        portable=portable or static,
        out=out,
        force=force,
        save_optimized=save_optimized,
        shapes=shapes_of(static, seq, batch, phase),
        genai=genai,
        keep_going=keep_going,
    )
    sources = _sources(targets, request, name, progress)
    done: list[Export] = []
    for index, (target, source) in enumerate(sources.items()):
        step = part(progress, Path(target).name, index, len(sources))
        try:
            if isinstance(source, EdgeprofError):
                raise source
            done.extend(result for result in _export_one(source, request, step) if result.precision in precision)
        except EdgeprofError as problem:
            if not keep_going:
                raise
            done.append(Export(target=target, precision=",".join(precision), error=str(problem)))
    return done


def _sources(
    targets: Sequence[str], request: _Request, name: str | None, progress: Progress
) -> dict[str, Source | EdgeprofError]:
    """The source of each target, or the error of one that cannot be exported here; wrong usage is raised first."""
    sources: dict[str, Source | EdgeprofError] = {}
    for target in dict.fromkeys(targets):
        try:
            sources[target] = _resolve(target, request, name, progress)
        except EdgeprofError as problem:
            if not request.keep_going or isinstance(problem, UsageError):
                raise
            sources[target] = problem
    _require_different_names(list(sources.values()))
    for target, source in sources.items():
        if isinstance(source, Source) and source.weights is not None:
            for precision in request.quantized:
                require_data(precision, request.evaluation, source.name, source.weights.source)
        if isinstance(source, Source) and request.shapes and source.variant is not None:
            request.shapes.of_variant(source.name, source.variant)
        refusal = _refusal(source, request) if isinstance(source, Source) else None
        if refusal:
            if not request.keep_going:
                raise refusal
            sources[target] = refusal
    return sources


def _refusal(source: Source, request: _Request) -> TooLarge | None:
    """The error for a model that does not fit here and is not exported yet; checking that reads all its files."""
    instead = _explaining(source, request)
    name, params = source.name, source.params
    refusal = too_large(name, params, (FP32, *_names(request)), request.out, instead)
    return too_large(name, params, _missing(source, request), request.out, instead) if refusal else None


def _explaining(source: Source, request: _Request) -> str:
    """The command that explains a target without exporting it."""
    where = source.weights.folder if source.weights and HUB_NAME.fullmatch(source.target) else source.target
    options = (f"--{option} {size}" for option, size in request.sizes.items())
    return " ".join(["edgeprof explain", where or source.target, *options])


def _resolve(target: str, request: _Request, name: str | None, progress: Progress) -> Source:
    source = resolve(target, request.weights, request.sizes, progress)
    if request.logits == "last" and not source.generates:
        raise UsageError(f"{target} has no LM head.", "--logits last is for decoders.")
    if request.genai:
        _require_genai(source, request)
    marks = {"-last": request.logits == "last", "-portable": request.portable and source.caches}
    chosen = source.name + "".join(mark for mark, applies in marks.items() if applies) if name is None else name
    require_name(chosen, "an artifact")
    return msgspec.structs.replace(source, name=chosen)


def _require_genai(source: Source, request: _Request) -> None:
    """Refuse what onnxruntime-genai cannot run, as far as it is known before the export."""
    if request.portable:
        raise UsageError("onnxruntime-genai runs fused attention only.", "Omit --portable and --static.")
    if not source.generates:
        raise UsageError(f"{source.target} has no LM head.", "--genai is for decoders.")
    if source.weights is not None:
        genai_folder.require_tokenizer(source.name, source.weights.path)


def _require_different_names(sources: Sequence[Source | EdgeprofError]) -> None:
    names = [source.name for source in sources if isinstance(source, Source)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two of these would be exported as {name}.", "Export them one by one, with --name.")


def _export_one(source: Source, request: _Request, progress: Progress) -> Iterator[Export]:
    """Yield the fp32 model and the quantized ones, each as soon as it is complete."""
    home = request.out / source.name
    weights = _settled_weights(source, request)
    if weights is None:
        assert source.variant is not None
        weights = fetched_weights(source.variant, request.weights, progress)
    chosen = weights

    def fp32(folder: Path) -> Artifact:
        return _along_routes(
            export_stage.ExportRequest(
                name=source.name,
                variant=source.variant,
                architecture=source.architecture,
                weights=chosen,
                logits=request.logits,
                opset=request.opset,
                portable=request.portable,
                folder=str(folder),
            ),
            progress,
        )

    base, up_to_date = make(home / FP32, _key(source, weights, request), request.force, fp32, progress)
    notes = [weights.note, *(graph.note for graph in base.graphs)]
    yield _outcome(source, _completed(base, request, chosen, progress), up_to_date, " ".join(filter(None, notes)))
    expected = {graph.role: reference_file(graph) for graph in base.graphs}
    for precision in request.quantized:
        key = key_of(base.key, precision, request.evaluation)
        try:
            artifact, up_to_date = quantized(
                base, expected, precision, request.evaluation, home, key, request.force, progress
            )
            yield _outcome(source, _completed(artifact, request, chosen, progress), up_to_date)
        except EdgeprofError as problem:
            if not request.keep_going:
                raise
            yield Export(target=source.target, precision=str(precision), error=str(problem))


def _along_routes(request: export_stage.ExportRequest, progress: Progress) -> Artifact:
    """The verified artifact of the first route that gives one.

    Raises:
        EdgeprofError: that of the first route, where none does.
    """
    failures: list[EdgeprofError] = []
    for route in export_stage.routes(request):
        try:
            artifact = export_stage.export(msgspec.structs.replace(request, route=route), progress)
            with KeptProcess() as kept:
                return optimize(simplify(_noted(artifact, route, failures), progress, kept), progress, kept)
        except (ExportError, VerificationError, ModelFileError) as problem:
            failures.append(problem)
    raise failures[0]


def _noted(artifact: Artifact, route: export_stage.Route, failures: Sequence[EdgeprofError]) -> Artifact:
    """The artifact, with the reason why its first route was left, if it was."""
    if not failures:
        return artifact
    note = f"{export_stage.NOTES[route]}: {failures[0].what}"
    return artifact.with_graphs(msgspec.structs.replace(graph, note=note) for graph in artifact.graphs)


def _completed(artifact: Artifact, request: _Request, weights: Weights, progress: Progress) -> Artifact:
    """With the static and optimized graphs of the request, and the files for onnxruntime-genai."""
    if request.shapes:
        artifact = fix(artifact, request.shapes.cases(artifact), request.force, progress)
    if request.save_optimized:
        save_optimized(artifact, progress)
    if request.genai:
        with alone(artifact.folder, progress):
            genai_folder.write(artifact, genai_folder.require_tokenizer(artifact.name, weights.path))
    return artifact


def _settled_weights(source: Source, request: _Request) -> Weights | None:
    """The weights; None if only the hub can tell. After it once had none, it is asked again only with --force."""
    may_be_random = source.weights is None and request.weights == "auto" and not request.force
    if may_be_random and up_to_date_in(request.out / source.name / FP32, _key(source, Weights(), request)):
        return Weights()
    return source.weights


def _missing(source: Source, request: _Request) -> list[str]:
    """The precisions that are not up to date on disk."""
    weights = _settled_weights(source, request)
    if weights is None or request.force:
        return [FP32, *_names(request)]
    key = _key(source, weights, request)
    keys = {FP32: key, **{str(one): key_of(key, one, request.evaluation) for one in request.quantized}}
    return [name for name, key in keys.items() if not up_to_date_in(request.out / source.name / name, key)]


def _names(request: _Request) -> list[str]:
    return [one.recipe for one in request.quantized]


def _outcome(source: Source, artifact: Artifact, up_to_date: bool, note: str = "") -> Export:
    return Export(
        target=source.target,
        precision=str(artifact.precision),
        artifact=artifact,
        up_to_date=up_to_date,
        note=note,
    )


def _key(source: Source, weights: Weights, request: _Request) -> str:
    """Equal exactly where two exports are the same."""
    versions = {**export_stage.versions(), "edgeprof": importlib.metadata.version("edgeprof")}
    return content_key(source.model, weights.key(), request.logits, request.opset, request.portable, versions)
