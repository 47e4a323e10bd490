"""`quantize`: from what is exported, or any .onnx file, to smaller files; needs no torch but for HQQ."""

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
from edgeprof.schema import FP32, Artifact, Case, Method, Phase, Settings
from edgeprof.stages import graph, onnx_reference, samples
from edgeprof.stages.quantize.prepare import require_plain, require_weights
from edgeprof.stages.samples import COUNT, require
from edgeprof.store import MODELS, REFERENCE_FILE, content_key, reference_file

LOADS = (
    LoadRequest(batch=1, length=16),
    LoadRequest(batch=2, length=5),
    LoadRequest(phase="decode", batch=1, length=7),
)
"""At which a file from elsewhere is compared with itself, as far as it runs there."""

OTHER_LOADS = (LoadRequest(batch=1, length=1), *(LoadRequest(batch=1, length=1 << power) for power in range(5, 13)))
"""For files that run at none of those: padding or strides ask for a length."""

COMPARED = 3
"""Shapes of a user's samples at which a file is compared with itself."""


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
    """Quantize fp32 models by recipes: verified, counted and judged like what `export` makes.

    >>> receipt = quantize(["bert-tiny"], recipe=["int8"])[0].artifact.graph().quantization
    >>> receipt.matmuls_quantized, receipt.matmuls
    (13, 13)

    Args:
        targets: exported names or folders (their fp32 is taken), or .onnx files.
        recipe: names of `edgeprof recipes`.
        block_size: weights that share one scale; a power of two, 16 or more.
        symmetric: quantize weights without zero points.
        accuracy_level: weight-only recipes multiply in 1 fp32, 2 fp16, 3 bf16, 4 int8.
        method: how ranges of activations are taken from calibration data. None keeps the recipe's own value of each;
            what differs from it becomes part of the result's precision: "int4-block128".
        seq, batch, dim, input: sizes and values, as in `profile`, at which a file from elsewhere is compared with
            itself; none means a few at which it runs.
        calibration, samples, strict_accuracy, save_optimized: as in `export`.
        models: the folder that `export` filled.
        out: the folder that receives `<name>/<precision>/`; None: beside what is exported, and `models` for files.
        force: make again what is up to date.
        progress: called with what is being done.

    Returns:
        One Export per target and recipe, in order.

    Raises:
        UsageError: nothing such is exported, or a recipe has no such setting. Raised before anything is made.
        QuantizationError: a recipe does not fit a model, reaches none of its weights, or would replace what was made of
            another one.
        ModelFileError: a file from elsewhere does not run.
        VerificationError: a result does not compute what its source does.
    """
    settings = Settings(block_size=block_size, symmetric=symmetric, accuracy_level=accuracy_level, method=method)
    precisions = precisions_of(recipe, settings)
    evaluation = Evaluation(data=calibration, count=samples, strict=strict_accuracy)
    if not targets or not precisions:
        raise UsageError("Nothing to quantize.", "Name a model, for example: edgeprof quantize gpt2 --recipe int8")
    require(calibration)
    sizing = Sizing(seq=tuple(seq), batch=tuple(batch), dims=dict(dim or {}), files=dict(input or {}))
    bases = _renamed([_base(target, models) for target in dict.fromkeys(targets)])
    done: list[Export] = []
    for index, (target, base) in enumerate(zip(dict.fromkeys(targets), bases, strict=True)):
        step = part(progress, base.name, index, len(bases))
        home = (out or models) / base.name if out or not base.variant else base.folder.parent
        base_key = base.key or content_key(base.sha256, base.data_sha256, *sizing.key)
        with removing_empty(home), _referenced(base, evaluation, sizing, step) as (reference, fills):
            filled = base.with_graphs([replace(base.graph(), fills=fills)])
            for precision in precisions:
                key = key_of(base_key, precision, evaluation)
                made, up_to_date = quantized(filled, reference, precision, evaluation, home, key, force, step)
                done.append(Export(target=target, precision=str(precision), artifact=made, up_to_date=up_to_date))
                if save_optimized:
                    write_optimized(made, step)
    return done


def _base(target: str, models: Path) -> Artifact:
    """The fp32 model that a target means."""
    if target.endswith(".onnx") or Path(target).is_file():
        model = graph.load(Path(target))
        require_plain(model)
        require_weights(model, Path(target))
        made = foreign(Path(target))
        return replace(made, source=made.location)
    found = exported([target], models)
    plain = [artifact for artifact in found if artifact.precision.recipe == FP32]
    if not plain:
        raise QuantizationError(
            f"{target} holds no fp32 model, only {', '.join(str(artifact.precision) for artifact in found)}.",
            f"Quantizing twice loses twice: export it in fp32 first: edgeprof export {found[0].name}",
        )
    return plain[0]


def _renamed(bases: list[Artifact]) -> list[Artifact]:
    """Files from elsewhere under names that differ: each gets a folder of its own."""
    names = iter(renamed([base for base in bases if not base.variant]))
    return [base if base.variant else next(names) for base in bases]


@contextlib.contextmanager
def _referenced(
    base: Artifact, evaluation: Evaluation, sizing: Sizing, progress: Progress
) -> Iterator[tuple[Path, dict[str, str]]]:
    """The reference values of a model: PyTorch's, or of a file from elsewhere what it computes itself.

    And what its inputs were filled with then.
    """
    if base.variant:
        sizing.refuse(base.name)
        yield reference_file(base.graph()), {}
        return
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as scratch:
        reference = Path(scratch) / REFERENCE_FILE
        if evaluation.users_own:
            candidates, enough = _of_samples(base, evaluation, Path(scratch)), COMPARED
        else:
            candidates, enough = _made_up(base, sizing)
        kept = onnx_reference.record(base.graph(), candidates, reference, progress, enough=enough)
        yield reference, dict(kept[0].fills)


def _of_samples(base: Artifact, evaluation: Evaluation, scratch: Path) -> list[onnx_reference.Candidate]:
    """A user's samples, one of every shape."""
    file, count = scratch / "samples.npz", evaluation.count
    gathered = samples.gather(base, evaluation.data or "", file, part="evaluation", count=count)
    found: dict[Case, onnx_reference.Candidate] = {}
    taken = signature_of_artifact(base, base.graph())
    for feeds in samples.read(gathered.path):
        case = _case(taken, feeds)
        found.setdefault(case, onnx_reference.Candidate(case, feeds))
    return list(found.values())[:COMPARED]


def _case(taken: Signature, feeds: Arrays) -> Case:
    """The batch and the tokens of a sample; 0 tokens where its inputs have no such axis."""
    if not taken.inputs:
        return Case(batch=1, tokens=0)
    first = feeds[taken.inputs[0].name]
    return Case(batch=len(first) if first.ndim else 1, tokens=samples.token_length(taken, feeds) or 0)


def _candidates(base: Artifact, loads: Sequence[LoadRequest], sizing: Sizing) -> list[onnx_reference.Candidate]:
    """Made-up inputs at every load that the file takes by what it declares; several where a meaning is not known."""
    taken = signature_of_artifact(base, base.graph())
    known = any(one.known for one in taken.inputs)
    found: list[onnx_reference.Candidate] = []
    for load in loads:
        try:
            inputs = of_file(taken, load, dims=sizing.dims, given=sizing.files)
            each = [inputs.refilled(taken, fills) for fills in alternatives(taken, inputs)]
            made = [(filled, _made(filled)) for filled in each]
        except UsageError:  # it takes no such size, or its table of positions ends
            continue
        for filled, feeds in made:
            case = inputs.case if known or inputs.case.tokens else _case(taken, feeds)
            found.append(onnx_reference.Candidate(case, feeds, filled.fills))
    return found


def _made(inputs: Inputs) -> Arrays:
    return {value.name: tensors.make_array(value) for value in inputs.values}


def _made_up(base: Artifact, sizing: Sizing) -> tuple[list[onnx_reference.Candidate], int]:
    """Inputs at which a file is compared with itself, and how many of the first are to be tried in any case.

    Raises:
        UsageError: the file takes none of them.
    """
    taken = signature_of_artifact(base, base.graph())
    phase: Phase = "decode" if taken.step_only else "prefill"
    as_it_is = LoadRequest(phase=phase)
    if sizing:
        asked = [
            LoadRequest(phase=phase, batch=batch, length=length)
            for batch in sizing.batch or (None,)
            for length in sizing.seq or (None,)
        ]
        found = _candidates(base, asked, sizing)
        if not found:
            _made(of_file(taken, asked[0], dims=sizing.dims, given=sizing.files))  # says why
        return found, len(found)
    found = _candidates(base, LOADS, sizing) or _candidates(base, [as_it_is, replace(as_it_is, batch=2)], sizing)
    if not found:
        _made(of_file(taken, as_it_is))  # says why
    enough = len(found)
    return found + _candidates(base, OTHER_LOADS, sizing), enough
