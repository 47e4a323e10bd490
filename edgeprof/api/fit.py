"""`fit`: the most tokens, or images, of a model that fit a memory limit: predicted, then proven by running them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof import store
from edgeprof.api.local_turn import LocalTurn
from edgeprof.api.option_ranges import require_positive
from edgeprof.api.points import ProfileRequest, jobs_of
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.targets import any_model, parts_of, split
from edgeprof.errors import RunError, UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.inputs import Signature
from edgeprof.inputs.run_inputs import signature_of_artifact
from edgeprof.measure import machine, runtime_memory
from edgeprof.measure.launch import measure
from edgeprof.measure.limited_process import limited, taken
from edgeprof.measure.schedule import Job, Visit
from edgeprof.process import Progress, silent
from edgeprof.schema import CPU, Artifact, Fit, MemoryLimit, Outcome, Phase, Reading, StoppingRule

ONCE = StoppingRule(min_runs=1, min_time_s=0.0, max_time_s=1.0)
TIMEOUT_S = 300.0
MOST_RUNS = 16
MOST_TOKENS, MOST_IMAGES = 1 << 17, 1 << 6
"""Tried of a model that takes any number."""

RESOLUTION = 64
"""What fits is told to one part in so many."""


def fit(
    target: str,
    *,
    memory: int,
    precision: Sequence[str] = (),
    phase: PhaseChoice = "both",
    batch: int = 1,
    threads: int | None = None,
    models: Path = store.MODELS,
    progress: Progress = silent,
) -> list[Fit]:
    """The largest token length of a model that fits a memory limit; of images the largest batch.

    It is predicted from the graph, and proven: that length runs under the limit, and one about 1.5 % longer does not.

    >>> (found,) = fit("bert-tiny:fp32", memory=4 << 30)
    >>> found.proven, found.exceeded, found.sentence.endswith("all that the model takes.")
    (512, None, True)

    Args:
        target: an exported name, with a precision or not, an artifact folder, or an .onnx file.
        memory: the limit in bytes, as `memory_limit_bytes` of `profile`.
        precision: precisions to try; default all that are exported.
        phase: "both" includes decode for models with a KV cache.
        batch: sequences at once; of images it is what is looked for.
        threads: of the runtime; default every core that this process may use.
        models: folder to read artifacts from.
        progress: called with the current step.

    Returns:
        An answer for each graph, precision and phase.

    Raises:
        UsageError: there is no such model, its size cannot be chosen, or the limit is less than the runtime takes.
        RunError: a run failed for another reason than memory.
    """
    require_positive("--batch", [batch])
    name, named = split(target)
    artifacts = any_model([name], models, precision or ([named] if named else []))
    limit, here = limited(memory, "--memory"), machine.describe()
    request = ProfileRequest(
        seq=(),
        batch=(batch,),
        phase="prefill",
        machine_id=here.machine_id,
        threads=threads or here.cores_allowed,
        targets=(CPU,),
        compile=False,
        stopping=ONCE,
        timeout_s=TIMEOUT_S,
        dims={},
        files={},
        memory_limit=limit,
        trial=False,  # it would be at any size, without the limit
    )
    found = [
        _of_phase(artifact, one, request, progress)
        for whole in artifacts
        for artifact in parts_of(whole)
        for one in _phases(artifact, phase)
    ]
    if not found:
        raise UsageError(f"{target} has no KV cache, so it cannot decode.", "Use --phase prefill.")
    return found


def _phases(artifact: Artifact, phase: PhaseChoice) -> list[Phase]:
    if phase != "both":
        accepted = signature_of_artifact(artifact, artifact.graph_for(phase))
        return [] if phase == "decode" and accepted.no_decode else [phase]
    decode = signature_of_artifact(artifact, artifact.graph_for("decode"))
    phases: list[Phase] = ["prefill"] if not decode.no_prefill else []
    return [*phases, "decode"] if not decode.no_decode else phases


def _of_phase(artifact: Artifact, phase: Phase, request: ProfileRequest, progress: Progress) -> Fit:
    accepted = signature_of_artifact(artifact, artifact.graph_for(phase))
    by_length = bool(accepted.sized_by_length or accepted.past)
    request = replace(request, phase=phase)
    limit = request.memory_limit
    assert limit

    usual = _usual_image(artifact)

    def job(amount: int) -> Job:
        sized = replace(request, seq=(amount,)) if by_length else replace(request, seq=usual, batch=(amount,))
        return jobs_of(artifact, sized, [])[0]

    label = f"{artifact.name} {artifact.precision}, {phase}"
    progress(f"predicting: {label}", None)
    most = _most(artifact, accepted, phase) if by_length else MOST_IMAGES
    predicted = _largest(most, _predicts(job, limit, request.threads))
    search, turn = Search(predicted, most), LocalTurn(progress)
    peaks: dict[int, Reading] = {}
    while (amount := search.next()) is not None:
        progress(f"{label}: run {len(search.tried) + 1} at {amount:,}", None)
        with turn.take(f"measures {label} at {amount:,}"):
            outcome = measure(Visit(job=job(amount), round=0)).outcome
        search.tried[amount] = _fits(outcome, f"{label} at {amount:,}")
        if outcome.reading:
            peaks[amount] = outcome.reading
    at = peaks.get(search.low)
    return Fit(
        subject=artifact.subject,
        phase=phase,
        batch=request.batch[0] if by_length else None,
        unit="token" if by_length else "image",
        limit=limit,
        predicted=predicted,
        proven=search.low,
        exceeded=search.high,
        most=most,
        peak_bytes=max(at.memory_load_peak_bytes, at.memory_run_peak_bytes) if at else None,
        address_peak_bytes=at.memory_address_peak_bytes if at else None,
        runs=len(search.tried),
        notes=tuple(turn.notes),
    )


def _most(artifact: Artifact, accepted: Signature, phase: Phase) -> int:
    """The longest that a model takes; a step of decode adds a token to those in the cache."""
    known = [limit for limit in (artifact.max_tokens, accepted.room) if limit]
    return min(known) - (phase == "decode") if known else MOST_TOKENS


def _usual_image(artifact: Artifact) -> tuple[int, ...]:
    """The tokens of an image of the size that a model was trained on, or a few more; none where a file knows its size.

    A larger image has over 8 tokens more, and is not chosen.
    """
    variant = traced_variant(artifact)
    known = family_of(variant).summary(variant) if variant else None
    return ((known.image // known.patch) ** 2 + 8,) if known and known.image and known.patch else ()


def _predicts(job: Callable[[int], Job], limit: MemoryLimit, threads: int) -> Callable[[int], bool]:
    """Whether an amount is predicted to fit; of an address space, with what the runtime maps beyond what it touches."""
    beyond = 0
    if limit.kind == "address space":
        beyond = max(taken().address_space_bytes - runtime_memory.read(threads).loaded_bytes, 0)

    def fits(amount: int) -> bool:
        memory = job(amount).facts.memory
        return memory is not None and memory.peak_bytes + beyond <= limit.bytes

    return fits


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest amount up to `most` that fits; 0 if none does.

    >>> _largest(1024, lambda amount: amount <= 700), _largest(8, lambda amount: False), _largest(8, bool)
    (700, 0, 8)
    """
    if fits(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(outcome: Outcome[Reading], label: str) -> bool:
    if outcome.status in ("ok", "out of memory"):
        return outcome.status == "ok"
    raise RunError(f"{label} cannot be measured: {outcome.error}", "Run edgeprof profile at that size, to see more.")


class Search:
    """Which amounts to run, from a predicted one on, until a neighbour above the largest that fits does not.

    >>> search = Search(100, 1024)
    >>> while (amount := search.next()) is not None:
    ...     search.tried[amount] = amount <= 108
    >>> list(search.tried), search.low, search.high
    ([100, 101, 103, 107, 115, 111, 109, 108], 108, 109)
    """

    def __init__(self, predicted: int, most: int) -> None:
        self.first, self.most = max(predicted, 1), most
        self.tried: dict[int, bool] = {}

    @property
    def low(self) -> int:
        """The largest that fits; 0: none."""
        return max((amount for amount, fits in self.tried.items() if fits), default=0)

    @property
    def high(self) -> int | None:
        """The smallest above it that does not; None: none was seen."""
        return min((amount for amount, fits in self.tried.items() if not fits and amount > self.low), default=None)

    def next(self) -> int | None:
        """The next amount to run; None: the answer is known, or it was tried often enough."""
        low, high = self.low, self.high
        if not self.tried:
            return self.first
        if low == self.most or high == 1 or len(self.tried) >= MOST_RUNS:
            return None
        step = max(self.first // RESOLUTION, 1) << len(self.tried) - 1
        if high is None:
            return min(low + step, self.most)
        if not low:
            return max(high - step, 1)
        return (low + high) // 2 if high - low > max(low // RESOLUTION, 1) else None
