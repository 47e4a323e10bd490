"""`export`: from a name or a checkpoint to verified artifacts, one per precision; nothing is done twice."""

import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgeprof.api.apply_recipe import Evaluation, key_of, quantized, require_data, save_optimized
from edgeprof.api.artifact_cache import make, standing
from edgeprof.api.capacity import too_large
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.static_export import Shapes, fix, shapes_asked
from edgeprof.errors import CheckpointError, EdgeprofError, TooLarge, UsageError
from edgeprof.families import checkpoint, chosen_sizes, family_of, find_variant, resized
from edgeprof.process import Progress, part, silent
from edgeprof.recipe_table import precisions_of
from edgeprof.schema import FP32, Artifact, Logits, Precision, Record, Variant
from edgeprof.stages import export as export_stage
from edgeprof.stages import weights as weights_stage
from edgeprof.stages.optimize import optimize
from edgeprof.stages.samples import COUNT, require
from edgeprof.stages.simplify import simplify
from edgeprof.stages.weights import Mode, Weights
from edgeprof.store import MODELS, content_key, reference_file, require_name

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class Export(Record, frozen=True, kw_only=True):
    """The outcome for one target in one precision. `error` is set, and `artifact` not, when it failed."""

    target: str
    precision: str
    artifact: Artifact | None = None
    up_to_date: bool = False
    note: str = ""  # what a user should know about the weights
    error: str = ""


class _Source(Record, frozen=True, kw_only=True):
    """What a target turned out to be. `weights` is None while that depends on whether the hub answers."""

    target: str
    name: str
    variant: Variant
    weights: Weights | None


class _Wish(Record, frozen=True, kw_only=True):
    """What is the same for all targets of one call."""

    quantized: tuple[Precision, ...]  # beside fp32
    evaluation: Evaluation
    sizes: dict[str, int]  # of `resized`
    weights: Mode
    logits: Logits
    opset: int
    out: Path
    force: bool
    save_optimized: bool
    shapes: Shapes | None  # of static graphs
    keep_going: bool


def export(
    targets: Sequence[str],
    *,
    precision: Sequence[str] = (FP32,),
    weights: Mode = "auto",
    logits: Logits = "all",
    opset: int = export_stage.OPSET,
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
    keep_going: bool = False,
    progress: Progress = silent,
    **sizes: int | None,
) -> list[Export]:
    """Export variants or checkpoints to ONNX: verified, simplified, and quantized where a precision asks for it.

    >>> [str(one.artifact.precision) for one in export(["bert-tiny"], precision=["fp32", "int8"])]
    ['fp32', 'int8']

    Args:
        targets: names of `edgeprof models`, `./folder` or `owner/name` in the `transformers` layout.
        precision: "fp32" and names of `edgeprof recipes`.
        weights: "auto" takes pretrained weights where cache or hub have them, else random ones, and says so.
        logits: "last" makes a decoder's LM head run on the last position only.
        opset: ONNX operator set version.
        name: of the folder below `out`, in place of the variant's own; for one target.
        out: the folder that receives `<name>/<precision>/`.
        force: export again what is up to date.
        calibration: data to scale activations by and to judge recipes by: "text" (shipped; what None means where a
            tokenizer lies beside the weights), a .txt, .npy or .npz file, a folder of images, or "random".
        samples: at most so many of that data, for each purpose.
        strict_accuracy: a recipe that costs more accuracy than its row allows is an error.
        save_optimized: write the graph that onnxruntime runs, too: optimized.onnx beside each model.
        static: also write graphs of one shape, without dynamic dimensions, that read the weights of `model.onnx`:
            prefill-<batch>x<tokens>.onnx and, with a cache of fixed size, decode-<batch>x<past>.onnx.
        seq, batch, phase: of those.
        keep_going: go on with the next target or recipe when one fails; its error is in the result.
        progress: called with what is being done.
        sizes: `width`, `tokens`, `heads` and `cross` of models that have such an option (the mixers).

    Returns:
        One Export per target and precision, in order.

    Raises:
        UsageError: an unknown name or precision, or an option that a target does not take.
        TooLarge: memory or disk is too small for a target. Both are raised before anything is exported.
        EdgeprofError: an export failed, and `keep_going` is off.
    """
    if not targets:
        raise UsageError("Nothing to export.", "Name a variant, for example: edgeprof export gpt2")
    if name and len(targets) > 1:
        raise UsageError("--name goes with one target.", "Export them one by one.")
    precisions = precisions_of(precision)
    require(calibration)
    export_stage.require_opset(opset)
    export_stage.require_extra()
    wish = _Wish(
        quantized=precisions,
        evaluation=Evaluation(data=calibration, count=samples, strict=strict_accuracy),
        sizes=chosen_sizes(sizes),
        weights=weights,
        logits=logits,
        opset=opset,
        out=out,
        force=force,
        save_optimized=save_optimized,
        shapes=shapes_asked(static, seq, batch, phase),
        keep_going=keep_going,
    )
    sources = _sources(targets, wish, name, progress)
    done: list[Export] = []
    for index, (target, source) in enumerate(sources.items()):
        step = part(progress, Path(target).name, index, len(sources))
        try:
            if isinstance(source, EdgeprofError):
                raise source
            done.extend(result for result in _export_one(source, wish, step) if result.precision in precision)
        except EdgeprofError as problem:
            if not keep_going:
                raise
            done.append(Export(target=target, precision=",".join(precision), error=str(problem)))
    return done


def _sources(
    targets: Sequence[str], wish: _Wish, name: str | None, progress: Progress
) -> dict[str, _Source | EdgeprofError]:
    """What the targets are; for those that cannot be exported here, why. What is asked wrongly comes first."""
    sources: dict[str, _Source | EdgeprofError] = {}
    for target in dict.fromkeys(targets):
        try:
            sources[target] = _resolve(target, wish, name, progress)
        except EdgeprofError as problem:
            if not wish.keep_going or isinstance(problem, UsageError):
                raise
            sources[target] = problem
    _require_different_names(list(sources.values()))
    for target, source in sources.items():
        if isinstance(source, _Source) and source.weights is not None:
            for precision in wish.quantized:
                require_data(precision, wish.evaluation, source.name, source.weights.source)
        if isinstance(source, _Source) and wish.shapes:
            wish.shapes.cases(source.name, source.variant)
        refusal = _refusal(source, wish) if isinstance(source, _Source) else None
        if refusal:
            if not wish.keep_going:
                raise refusal
            sources[target] = refusal
    return sources


def _refusal(source: _Source, wish: _Wish) -> TooLarge | None:
    """Of what does not fit here, unless it is made already: which takes a look at all its files."""
    instead = _explaining(source, wish)
    refusal = too_large(source.variant, (FP32, *_names(wish)), wish.out, instead)
    return too_large(source.variant, _missing(source, wish), wish.out, instead) if refusal else None


def _explaining(source: _Source, wish: _Wish) -> str:
    """The command that tells of a target what can be told without making it."""
    where = source.weights.folder if source.weights and HUB_NAME.fullmatch(source.target) else source.target
    options = (f"--{option} {size}" for option, size in wish.sizes.items())
    return " ".join(["edgeprof explain", where or source.target, *options])


def _resolve(target: str, wish: _Wish, name: str | None, progress: Progress) -> _Source:
    mode, logits = wish.weights, wish.logits
    folder = Path(target).expanduser()
    if folder.is_dir() and (len(folder.parts) > 1 or target.startswith(".") or (folder / "config.json").exists()):
        source = _checkpoint(target, folder.resolve(), folder.resolve().name, mode)
    elif target.startswith((".", "/", "~")):
        raise UsageError(f"There is no folder {target}.", "Check the path; a checkpoint is a folder with config.json.")
    elif HUB_NAME.fullmatch(target):
        found = weights_stage.cached(target) or weights_stage.fetch(target, progress)
        source = _checkpoint(target, found, target.split("/")[1], mode, origin=target)
    else:
        variant = find_variant(target)
        source = _Source(target=target, name=variant.name, variant=variant, weights=_known_weights(variant, mode))
    variant = resized(source.variant, **wish.sizes)
    source = msgspec.structs.replace(source, name=variant.name, variant=variant)
    if logits == "last" and not family_of(source.variant).generates(source.variant):
        raise UsageError(f"{target} has no LM head.", "--logits last is for decoders.")
    chosen = name if name is not None else source.name + ("-last" if logits == "last" else "")
    require_name(chosen, "an artifact")
    return msgspec.structs.replace(source, name=chosen)


def _require_different_names(sources: Sequence[_Source | EdgeprofError]) -> None:
    names = [source.name for source in sources if isinstance(source, _Source)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two of these would be exported as {name}.", "Export them one by one, with --name.")


def _checkpoint(target: str, folder: Path, name: str, mode: Mode, origin: str = "") -> _Source:
    variant, encoder = checkpoint.read(folder, name)
    weights = Weights() if mode == "random" else Weights(folder=str(encoder), origin=origin or folder.name)
    return _Source(target=target, name=name, variant=variant, weights=weights)


def _known_weights(variant: Variant, mode: Mode) -> Weights | None:
    """What can be told without the network: random ones if asked for, cached ones if there are any."""
    if mode == "random" or (mode == "auto" and not family_of(variant).trained):
        return Weights()
    found = weights_stage.cached(variant.source) if variant.source else None
    return Weights(folder=str(found), origin=variant.source or "") if found else None


def _fetched_weights(variant: Variant, mode: Mode, progress: Progress) -> Weights:
    try:
        if variant.source is None:
            raise CheckpointError(f"No checkpoint of {variant.name} is published.", "Use --weights random.")
        return Weights(folder=str(weights_stage.fetch(variant.source, progress)), origin=variant.source)
    except CheckpointError as problem:
        if mode == "pretrained":
            raise
        return Weights(note=f"{variant.name} has random weights: {problem.what}")


def _export_one(source: _Source, wish: _Wish, progress: Progress) -> Iterator[Export]:
    """The fp32 model, and what recipes make of it, each when it is whole."""
    home = wish.out / source.name
    weights = _settled_weights(source, wish)
    if weights is None:
        weights = _fetched_weights(source.variant, wish.weights, progress)
    chosen = weights

    def fp32(folder: Path) -> Artifact:
        variant = source.variant
        made = export_stage.export(variant, chosen, wish.logits, wish.opset, folder, source.name, progress)
        return optimize(simplify(made, progress), progress)

    base, stood = make(home / FP32, _key(source, weights, wish), wish.force, fp32, progress)
    yield _outcome(source, _completed(base, wish, progress), stood, weights.note)
    expected = reference_file(base.graph())
    for precision in wish.quantized:
        key = key_of(base.key, precision, wish.evaluation)
        try:
            made, stood = quantized(base, expected, precision, wish.evaluation, home, key, wish.force, progress)
            yield _outcome(source, _completed(made, wish, progress), stood)
        except EdgeprofError as problem:
            if not wish.keep_going:
                raise
            yield Export(target=source.target, precision=str(precision), error=str(problem))


def _completed(artifact: Artifact, wish: _Wish, progress: Progress) -> Artifact:
    """With the graphs beside it that are asked for."""
    if wish.shapes:
        assert artifact.variant is not None
        cases = wish.shapes.cases(artifact.name, artifact.variant)
        artifact = fix(artifact, cases, wish.force, progress)
    if wish.save_optimized:
        save_optimized(artifact, progress)
    return artifact


def _settled_weights(source: _Source, wish: _Wish) -> Weights | None:
    """None while that depends on the hub's answer. Where it once gave none, it is not asked again; --force does."""
    may_stand = source.weights is None and wish.weights == "auto" and not wish.force
    if may_stand and standing(wish.out / source.name / FP32, _key(source, Weights(), wish)):
        return Weights()
    return source.weights


def _missing(source: _Source, wish: _Wish) -> list[str]:
    """The precisions that are still to be made, as far as the disk tells."""
    weights = _settled_weights(source, wish)
    if weights is None or wish.force:
        return [FP32, *_names(wish)]
    key = _key(source, weights, wish)
    keys = {FP32: key, **{str(one): key_of(key, one, wish.evaluation) for one in wish.quantized}}
    return [name for name, key in keys.items() if not standing(wish.out / source.name / name, key)]


def _names(wish: _Wish) -> list[str]:
    return [one.recipe for one in wish.quantized]


def _outcome(source: _Source, artifact: Artifact, up_to_date: bool, note: str = "") -> Export:
    return Export(
        target=source.target,
        precision=str(artifact.precision),
        artifact=artifact,
        up_to_date=up_to_date,
        note=note,
    )


def _key(source: _Source, weights: Weights, wish: _Wish) -> str:
    """Equal exactly when an export would come out the same."""
    versions = {**export_stage.versions(), "edgeprof": importlib.metadata.version("edgeprof")}
    variant = msgspec.structs.replace(source.variant, source=None)  # where it lies does not matter, what it is does
    return content_key(variant, weights.key(), wish.logits, wish.opset, versions)
