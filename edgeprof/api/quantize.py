"""`quantize`: make exported models, or any .onnx file, smaller; needs torch for HQQ only."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof.api.apply_recipe import Evaluation, key_of, quantized, removing_empty
from edgeprof.api.apply_recipe import save_optimized as write_optimized
from edgeprof.api.export import Export
from edgeprof.api.sizing import Sizing
from edgeprof.api.targets import exported, foreign, renamed
from edgeprof.api.trial_inputs import alternatives
from edgeprof.errors import QuantizationError, UsageError
from edgeprof.families.base import Arrays
from edgeprof.inputs import LoadRequest, Signature, tensors
from edgeprof.inputs.run_inputs import Inputs, of_file, signature_of_artifact
from edgeprof.process import Progress, part, silent
from edgeprof.recipe_table import precisions_of
from edgeprof.schema import FP32, Artifact, Case, Method, Phase, Role, Settings
from edgeprof.stages import graph, onnx_reference, samples
from edgeprof.stages.quantize.prepare import require_plain, require_weights
from edgeprof.stages.samples import COUNT, require
from edgeprof.store import MODELS, REFERENCE_FILE, content_key, reference_file

LOADS = (
    LoadRequest(batch=1, length=16),
    LoadRequest(batch=2, length=5),
    LoadRequest(phase="decode", batch=1, length=7),
)
"""Loads at which a file from elsewhere is compared with itself, as far as it accepts them."""

OTHER_LOADS = (LoadRequest(batch=1, length=1), *(LoadRequest(batch=1, length=1 << power) for power in range(5, 13)))
"""Loads for files that accept none of those, because padding or strides need a certain length."""

COMPARED = 3
"""How many shapes of a user's samples a file is compared with itself at."""


def quantize(
    targets: Sequence[str],
    *,
    recipe: Sequence[str] = ("int8",),
    block_size: int | None = None,
    symmetric: bool | None = None,
    accuracy_level: int | None = None,
    method: Method | None = None,
    seq: Sequence[int] = (),
    batch: Sequence[int] = (),
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    calibration: str | None = None,
    samples: int = COUNT,
    strict_accuracy: bool = False,
    save_optimized: bool = False,
    models: Path = MODELS,
    out: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> list[Export]:
    """Quantize fp32 models by recipes, with the same checks and receipts as `export`.

    >>> receipt = quantize(["bert-tiny"], recipe=["int8"])[0].artifact.graph().quantization
    >>> receipt.matmuls_quantized, receipt.matmuls
    (13, 13)

    Args:
        targets: exported names or folders, whose fp32 model is quantized, or .onnx files.
        recipe: names of `edgeprof recipes`.
        block_size: weights that share one scale; a power of two, 16 or more.
        symmetric: quantize weights without zero points.
        accuracy_level: weight-only recipes multiply in 1 fp32, 2 fp16, 3 bf16, 4 int8.
        method: how ranges of activations are computed from calibration data. For each of these settings None keeps the
            recipe's usual value; a different one becomes part of the result's precision: "int4-block128".
        seq, batch, dim, input: sizes and values, as in `profile`, at which a file from elsewhere is compared with
            itself; by default a few at which it runs.
        calibration, samples, strict_accuracy, save_optimized: as in `export`.
        models: the folder that `export` filled.
        out: the folder that receives `<name>/<precision>/`; None: that of the exported model, and `models` for files.
        force: quantize again what is up to date.
        progress: called with the current step.

    Returns:
        One Export per target and recipe, in order.

    Raises:
        UsageError: a target is not exported, or a recipe has no such setting. Raised before anything is quantized.
        QuantizationError: a recipe does not apply to a model, quantizes none of its weights, or would replace a model
            that was made from another one.
        ModelFileError: a file from elsewhere does not run.
        VerificationError: a result does not compute what its source computes.
    """
    settings = Settings(block_size=block_size, symmetric=symmetric, accuracy_level=accuracy_level, method=method)
    precisions = precisions_of(recipe, settings)
    evaluation = Evaluation(data=calibration, count=samples, strict=strict_accuracy)
    if not targets or not precisions:
        raise UsageError("Nothing to quantize.", "Name a model, for example: edgeprof quantize gpt2 --recipe int8")
    require(calibration)
    sizing = Sizing(seq=tuple(seq), batch=tuple(batch), dims=dict(dim or {}), files=dict(input or {}))
    bases = _with_distinct_names([_base(target, models) for target in dict.fromkeys(targets)])
    done: list[Export] = []
    for index, (target, base) in enumerate(zip(dict.fromkeys(targets), bases, strict=True)):
        step = part(progress, base.name, index, len(bases))
        home = (out or models) / base.name if out or not base.exported else base.folder.parent
        base_key = base.key or content_key(base.sha256, base.data_sha256, *sizing.key)
        with removing_empty(home), _reference_values(base, evaluation, sizing, step) as (reference, fills):
            filled = base.with_graphs([replace(base.graph(), fills=fills)]) if fills else base
            for precision in precisions:
                key = key_of(base_key, precision, evaluation)
                artifact, up_to_date = quantized(filled, reference, precision, evaluation, home, key, force, step)
                done.append(Export(target=target, precision=str(precision), artifact=artifact, up_to_date=up_to_date))
                if save_optimized:
                    write_optimized(artifact, step)
    return done


def _base(target: str, models: Path) -> Artifact:
    """The fp32 model that a target names."""
    if target.endswith(".onnx") or Path(target).is_file():
        model = graph.load(Path(target))
        require_plain(model)
        require_weights(model, Path(target))
        artifact = foreign(Path(target))
        return replace(artifact, source=artifact.location)
    artifacts = exported([target], models)
    if artifacts[0].is_part:
        whole = artifacts[0].subject.artifact
        raise UsageError(f"{target} is one graph of {whole}.", f"Quantize all of them: edgeprof quantize {whole}")
    for artifact in artifacts:
        if artifact.precision.recipe == FP32:
            return artifact
    raise QuantizationError(
        f"{target} holds no fp32 model, only {', '.join(str(artifact.precision) for artifact in artifacts)}.",
        f"Quantizing twice loses twice: export it in fp32 first: edgeprof export {artifacts[0].name}",
    )


def _with_distinct_names(bases: list[Artifact]) -> list[Artifact]:
    """Give files from elsewhere different names, so that each gets a folder of its own."""
    names = iter(renamed([base for base in bases if not base.exported]))
    return [base if base.exported else next(names) for base in bases]


@contextlib.contextmanager
def _reference_values(
    base: Artifact, evaluation: Evaluation, sizing: Sizing, progress: Progress
) -> Iterator[tuple[dict[Role, Path], dict[str, str]]]:
    """The files of a model's reference values, and how its inputs were filled.

    The values are PyTorch's, or, for a file from elsewhere, those that the file itself computes.
    """
    if base.exported:
        sizing.refuse(base.name)
        yield {graph.role: reference_file(graph) for graph in base.graphs}, {}
        return
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as scratch:
        reference = Path(scratch) / REFERENCE_FILE
        if evaluation.users_own:
            candidates, enough = _of_samples(base, evaluation, Path(scratch)), COMPARED
        else:
            candidates, enough = _random_candidates(base, sizing)
        kept = onnx_reference.record(base.graph(), candidates, reference, progress, enough=enough)
        yield {base.graph().role: reference}, dict(kept[0].fills)


def _of_samples(base: Artifact, evaluation: Evaluation, scratch: Path) -> list[onnx_reference.Candidate]:
    """A user's samples, one for every shape."""
    file, count = scratch / "samples.npz", evaluation.count
    gathered = samples.gather(base, evaluation.data or "", file, part="evaluation", count=count)
    candidates: dict[Case, onnx_reference.Candidate] = {}
    signature = signature_of_artifact(base, base.graph())
    for feeds in samples.read(gathered.path):
        case = _case(signature, feeds)
        candidates.setdefault(case, onnx_reference.Candidate(case, feeds))
    return list(candidates.values())[:COMPARED]


def _case(signature: Signature, feeds: Arrays) -> Case:
    """The batch size and token length of a sample; 0 tokens where its inputs have no such axis."""
    if not signature.inputs:
        return Case(batch=1, tokens=0)
    first = feeds[signature.inputs[0].name]
    return Case(batch=len(first) if first.ndim else 1, tokens=samples.token_length(signature, feeds) or 0)


def _candidates(base: Artifact, loads: Sequence[LoadRequest], sizing: Sizing) -> list[onnx_reference.Candidate]:
    """Random inputs at every load that the file's shapes allow; several where the meaning of an input is not known."""
    signature = signature_of_artifact(base, base.graph())
    known = any(one.known for one in signature.inputs)
    candidates: list[onnx_reference.Candidate] = []
    for load in loads:
        try:
            inputs = of_file(signature, load, dims=sizing.dims, given=sizing.files)
            fillings = [inputs.refilled(signature, fills) for fills in alternatives(signature, inputs)]
            filled = [(one, _arrays(one)) for one in fillings]
        except UsageError:  # the file has no such size, or its position table is shorter
            continue
        for one, feeds in filled:
            case = inputs.case if known or inputs.case.tokens else _case(signature, feeds)
            candidates.append(onnx_reference.Candidate(case, feeds, one.fills))
    return candidates


def _arrays(inputs: Inputs) -> Arrays:
    return {value.name: tensors.make_array(value) for value in inputs.values}


def _random_candidates(base: Artifact, sizing: Sizing) -> tuple[list[onnx_reference.Candidate], int]:
    """Inputs at which a file is compared with itself, and how many of the first ones are always tried.

    Raises:
        UsageError: the file accepts none of them.
    """
    signature = signature_of_artifact(base, base.graph())
    phase: Phase = "decode" if signature.step_only else "prefill"
    default = LoadRequest(phase=phase)
    if sizing:
        loads = [
            LoadRequest(phase=phase, batch=batch, length=length)
            for batch in sizing.batch or (None,)
            for length in sizing.seq or (None,)
        ]
        candidates = _candidates(base, loads, sizing)
        if not candidates:
            _arrays(of_file(signature, loads[0], dims=sizing.dims, given=sizing.files))  # raises the reason
        return candidates, len(candidates)
    candidates = _candidates(base, LOADS, sizing) or _candidates(base, [default, replace(default, batch=2)], sizing)
    if not candidates:
        _arrays(of_file(signature, default))  # raises the reason
    return candidates + _candidates(base, OTHER_LOADS, sizing), len(candidates)
