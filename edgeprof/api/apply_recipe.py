"""From an fp32 artifact to a quantized one that is verified, counted and judged: what `export` and `quantize` share."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgeprof.api.artifact_cache import make
from edgeprof.errors import QuantizationError, RunError, UsageError, VerificationError
from edgeprof.process import Progress
from edgeprof.schema import FP32, Artifact, Calibration, Precision, Record, Settings
from edgeprof.stages import accuracy, reference, samples
from edgeprof.stages.optimize import optimize
from edgeprof.stages.quantize import Recipe, quantize, recipe
from edgeprof.stages.verify import verify
from edgeprof.store import MODEL_FILE, REFERENCE_FILE, content_key, record_beside, sha256_of

OPTIMIZED_FILE = "optimized.onnx"
RANDOM = "random"
TEXT = "text"


class Judging(Record, frozen=True, kw_only=True):
    """By what data recipes are calibrated and judged, and what follows from it."""

    data: str | None = None  # what `samples.gather` takes; None: the shipped text, where a tokenizer reads it
    count: int = samples.COUNT
    strict: bool = False  # a recipe that costs more accuracy than it may is a failure

    @property
    def given(self) -> bool:
        """Whether a user gave data."""
        return self.data not in (None, TEXT, RANDOM)


class Order(Record, frozen=True, kw_only=True):
    """A recipe with its settings."""

    name: str  # of the recipe
    settings: Settings

    @property
    def recipe(self) -> Recipe:
        return recipe(self.name)

    @property
    def precision(self) -> Precision:
        return self.recipe.precision(self.settings)


def ordered(names: Sequence[str], wanted: Settings | None = None) -> tuple[Order, ...]:
    """Recipes by name, in order, with a user's settings in place of their own.

    Raises:
        UnknownName: no such recipe.
        UsageError: a setting that one of them does not have.
    """
    rows = [recipe(name) for name in dict.fromkeys(names) if name != FP32]
    return tuple(Order(name=row.name, settings=row.with_settings(wanted or Settings())) for row in rows)


def require_data(order: Order, judging: Judging, name: str, random_weights: bool) -> None:
    """Random values are calibrated with only if somebody asks for them by name.

    Raises:
        UsageError: the recipe needs calibration data and none is given that means something for these weights.
    """
    if order.recipe.calibrated and judging.data is None and random_weights:
        raise UsageError(
            f"Recipe {order.name} scales activations by calibration data, which mean nothing for random weights: "
            f"those of {name} are.",
            f"Ask for made-up values by name: --calibration {RANDOM}.",
        )


def key_of(base_key: str, order: Order, judging: Judging) -> str:
    """Equal exactly when a result would come out the same."""
    return content_key(base_key, order.name, order.settings, _digest(judging.data), judging.count)


def _digest(source: str | None) -> object:
    path = Path(source or "").expanduser()
    if path.is_file():
        return sha256_of(path)
    if source and path.is_dir():
        return [(str(file.relative_to(path)), sha256_of(file)) for file in sorted(path.rglob("*")) if file.is_file()]
    return source


def quantized(
    base: Artifact,
    expected: Path,
    order: Order,
    judging: Judging,
    home: Path,
    key: str,
    force: bool,
    progress: Progress,
) -> tuple[Artifact, bool]:
    """The artifact below `home`, and whether it stood there already.

    Args:
        expected: the reference file that it is verified by.
        force: make it again, and replace what was made of another model.

    Raises:
        QuantizationError, VerificationError: the recipe does not fit the model, or broke it; with `judging.strict`
            also if it costs more accuracy than it may; or what stands there was made of another model. That is
            untouched then.
    """
    if not force:
        _require_own(base, home / str(order.precision), key)

    def build(folder: Path) -> Artifact:
        reference.copy(expected, folder / REFERENCE_FILE)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".samples-") as scratch:
            made = _quantize(base, order, judging, folder, Path(scratch), progress)
            made = optimize(verify(made, progress), progress)
            made = _judge(base, made, order, judging, Path(scratch), progress)
        _require_accuracy(made, judging)
        return made

    artifact, stood = make(home / str(order.precision), key, force, build, progress)
    _require_accuracy(artifact, judging)
    return artifact, stood


@contextlib.contextmanager
def leaving_nothing(home: Path) -> Iterator[None]:
    """Folders that are made on the way to a result go again if there is none."""
    fresh = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in fresh:
            with contextlib.suppress(OSError):  # it holds a result
                folder.rmdir()


def _require_own(base: Artifact, folder: Path, key: str) -> None:
    """Refuse to replace what was made of another model.

    Raises:
        QuantizationError: it was, and stands there.
    """
    try:
        found = record_beside(folder / MODEL_FILE)
    except RunError:  # damaged: it is of no use to anybody
        return
    own = found is None or (bool(found.variant), found.source) == (bool(base.variant), base.source)
    if found is None or own or found.key == key:
        return
    other = found.source or f"the exported model {found.name}"
    raise QuantizationError(
        f"{folder} holds what was made of {other}.", "Choose another folder with --out, or replace it with --force."
    )


def _quantize(
    base: Artifact, order: Order, judging: Judging, folder: Path, scratch: Path, progress: Progress
) -> Artifact:
    if not order.recipe.calibrated:
        return quantize(base, order.name, folder, progress, settings=order.settings)
    require_data(order, judging, base.name, base.weights.kind == "random")
    progress("gathering calibration data", None)
    source = judging.data or TEXT
    gathered = samples.gather(
        base,
        source,
        scratch / "calibration.npz",
        part="calibration",
        count=judging.count,
        like=folder / REFERENCE_FILE,
    )
    calibration = Calibration(
        data=gathered.data,
        samples=gathered.samples,
        lengths=gathered.lengths,
        method=order.settings.method or "",
        random=gathered.random,
    )
    return quantize(
        base,
        order.name,
        folder,
        progress,
        settings=order.settings,
        samples=Path(gathered.path),
        calibration=calibration,
    )


def _judge(
    base: Artifact, made: Artifact, order: Order, judging: Judging, scratch: Path, progress: Progress
) -> Artifact:
    """With what it costs in accuracy, or why that cannot be told."""
    given = judging.given and base.weights.kind != "random"
    note = "" if given else accuracy.why_not_evaluated(base)
    if note:
        return msgspec.structs.replace(made, accuracy_note=note)
    progress("gathering evaluation data", None)
    source = judging.data if given and judging.data else TEXT
    gathered = samples.gather(base, source, scratch / "evaluation.npz", part="evaluation", count=judging.count)
    found = accuracy.compare(base, Path(made.path), gathered, order.recipe.limits, progress)
    return msgspec.structs.replace(made, accuracy=found)


def _require_accuracy(artifact: Artifact, judging: Judging) -> None:
    if judging.strict and artifact.accuracy and artifact.accuracy.beyond:
        raise VerificationError(
            f"{artifact.name} in {artifact.precision} costs too much accuracy: {' '.join(artifact.accuracy.beyond)}",
            "Try a different recipe, or leave --strict-accuracy out.",
        )


def save_optimized(artifact: Artifact, progress: Progress) -> Path:
    """Write the graph that onnxruntime runs beside the model, unless it lies there."""
    target = Path(artifact.path).with_name(OPTIMIZED_FILE)
    if not target.exists():
        optimize(artifact, progress, save_to=target)
    return target
