"""From an fp32 artifact to a quantized one, verified and evaluated: what `export` and `quantize` share."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edgeprof.api.artifact_cache import make
from edgeprof.errors import QuantizationError, RunError, UsageError, VerificationError
from edgeprof.kept_process import KeptProcess
from edgeprof.process import Progress
from edgeprof.recipe_table import recipe
from edgeprof.schema import Artifact, Calibration, Graph, Precision, Record, Role, Settings, WeightsSource
from edgeprof.stages import accuracy, reference, samples
from edgeprof.stages.optimize import optimize, receipt_of
from edgeprof.stages.quantize import Calibrated, quantize
from edgeprof.stages.verify import verify
from edgeprof.store import MODEL_FILE, content_key, graph_file, record_beside, reference_beside, sha256_of

OPTIMIZED_FILE = "optimized.onnx"
RANDOM = "random"
TEXT = "text"


class Evaluation(Record, frozen=True, kw_only=True):
    """The data that recipes are calibrated with and evaluated on, and what follows from the result."""

    data: str | None = None  # what `samples.gather` takes; None: the shipped text, where a tokenizer reads it
    count: int = samples.COUNT
    strict: bool = False  # a recipe that loses more accuracy than its limits is a failure

    @property
    def users_own(self) -> bool:
        """Whether the data is a user's."""
        return self.data not in (None, TEXT, RANDOM)

    @property
    def of_images(self) -> bool:
        """Whether the data is a folder of images."""
        return self.users_own and Path(self.data or "").expanduser().is_dir()


def require_data(precision: Precision, evaluation: Evaluation, name: str, weights: WeightsSource) -> None:
    """Refuse to calibrate a model of random weights, unless with random values that are requested by name.

    Raises:
        UsageError: the recipe needs calibration data, and no data means anything for these weights.
    """
    calibrated = recipe(precision.recipe).calibrated
    if calibrated and evaluation.data is None and weights.kind == "random":
        raise UsageError(
            f"Recipe {precision.recipe} scales activations by calibration data, which mean nothing for the random "
            f"weights of {name}.",
            f"Request random values by name: --calibration {RANDOM}.",
        )


def key_of(base_key: str, precision: Precision, evaluation: Evaluation) -> str:
    """Equal exactly when a result would come out the same."""
    settings = _settings(precision)
    return content_key(base_key, precision.recipe, settings, _digest(evaluation.data), evaluation.count)


def _settings(precision: Precision) -> Settings:
    """All settings of a precision, also those that are usual for its recipe."""
    return recipe(precision.recipe).with_settings(precision.settings)


def _digest(source: str | None) -> object:
    path = Path(source or "").expanduser()
    if path.is_file():
        return sha256_of(path)
    if source and path.is_dir():
        return [(str(file.relative_to(path)), sha256_of(file)) for file in sorted(path.rglob("*")) if file.is_file()]
    return source


def quantized(
    base: Artifact,
    expected: Mapping[Role, Path],
    precision: Precision,
    evaluation: Evaluation,
    home: Path,
    key: str,
    force: bool,
    progress: Progress,
) -> tuple[Artifact, bool]:
    """The artifact below `home`, and whether it was up to date already.

    Args:
        expected: the reference files that its graphs are verified by.
        force: quantize again, and replace a result that was made from another model.

    Raises:
        QuantizationError, VerificationError: the recipe does not apply to the model, or breaks it; with
            `evaluation.strict` also if it loses more accuracy than its limits; or the folder holds an artifact that was
            made from another model, which is untouched then.
    """
    target = home / str(precision)
    if not force:
        _require_replaceable(base, target, key)

    def build(folder: Path) -> Artifact:
        for role, file in expected.items():
            reference.copy(file, reference_beside(graph_file(folder, role), role))
        with tempfile.TemporaryDirectory(dir=folder, prefix=".samples-") as scratch:
            made = _quantize(base, precision, evaluation, folder, Path(scratch), progress)
            with KeptProcess() as kept:
                made = optimize(verify(made, progress, kept), progress, kept)
            made = _evaluated(base, made, evaluation, Path(scratch), progress)
        _require_accuracy(made, evaluation)
        return made

    artifact, up_to_date = make(target, key, force, build, progress)
    _require_accuracy(artifact, evaluation)
    return artifact, up_to_date


@contextlib.contextmanager
def removing_empty(home: Path) -> Iterator[None]:
    """Remove the folders that were created on the way to a result, where there is none."""
    created = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in created:
            with contextlib.suppress(OSError):  # it holds a result
                folder.rmdir()


def _require_replaceable(base: Artifact, folder: Path, key: str) -> None:
    """Refuse to replace an artifact that was made from another model.

    Raises:
        QuantizationError: the folder holds one.
    """
    try:
        old = record_beside(folder / MODEL_FILE)
    except RunError:  # damaged: it is of no use to anybody
        return
    if old is None or old.key == key or (old.exported, old.source) == (base.exported, base.source):
        return
    other = old.source or f"the exported model {old.name}"
    raise QuantizationError(
        f"{folder} holds a model that was made from {other}.",
        "Choose another folder with --out, or replace it with --force.",
    )


def _quantize(
    base: Artifact, precision: Precision, evaluation: Evaluation, folder: Path, scratch: Path, progress: Progress
) -> Artifact:
    if not recipe(precision.recipe).calibrated:
        return quantize(base, precision, folder, progress)
    require_data(precision, evaluation, base.name, base.weights)
    progress("gathering calibration data", None)
    calibrated = {
        graph.role: _calibrated(base.only(graph.role), graph, precision, evaluation, folder, scratch)
        for graph in base.graphs
    }
    return quantize(base, precision, folder, progress, calibrated)


def _calibrated(
    one: Artifact, graph: Graph, precision: Precision, evaluation: Evaluation, folder: Path, scratch: Path
) -> Calibrated:
    gathered = samples.gather(
        one,
        evaluation.data or TEXT,
        scratch / f"{graph.role}.calibration.npz",
        part="calibration",
        count=evaluation.count,
        like=reference_beside(graph_file(folder, graph.role), graph.role),
    )
    calibration = Calibration(
        data=gathered.data,
        samples=gathered.samples,
        lengths=gathered.lengths,
        method=_settings(precision).method or "",
        random=gathered.random,
    )
    return Calibrated(Path(gathered.path), calibration)


def _evaluated(base: Artifact, made: Artifact, evaluation: Evaluation, scratch: Path, progress: Progress) -> Artifact:
    """The artifact with its loss of accuracy, or the reason why there is no statement about it."""
    one = accuracy.evaluable(base, images=evaluation.of_images)
    users_own = evaluation.users_own and base.weights.kind != "random"
    note = "" if users_own and one else accuracy.why_not_evaluated(one or base)
    if note or one is None:
        return msgspec.structs.replace(made, accuracy_note=note)
    progress("gathering evaluation data", None)
    source = evaluation.data if users_own and evaluation.data else TEXT
    gathered = samples.gather(one, source, scratch / "evaluation.npz", part="evaluation", count=evaluation.count)
    limits, role = recipe(made.precision.recipe).limits, one.graph().role
    return msgspec.structs.replace(
        made,
        accuracy=accuracy.compare(one, Path(made.graph(role).path), gathered, limits, progress),
        accuracy_note=f"accuracy is that of the {role} graph alone" if one.is_part else "",
    )


def _require_accuracy(artifact: Artifact, evaluation: Evaluation) -> None:
    if evaluation.strict and artifact.accuracy and artifact.accuracy.beyond:
        raise VerificationError(
            f"{artifact.name} in {artifact.precision} loses too much accuracy: {' '.join(artifact.accuracy.beyond)}",
            "Try a different recipe, or leave --strict-accuracy out.",
        )


def save_optimized(artifact: Artifact, progress: Progress) -> None:
    """Write the graphs that onnxruntime runs beside those of the artifact, unless they exist."""
    for graph in artifact.graphs:
        name = OPTIMIZED_FILE if graph.role == "model" else f"{graph.role}.{OPTIMIZED_FILE}"
        target = artifact.folder / name
        if not target.exists():
            receipt_of(artifact, graph, progress, save_to=target)
