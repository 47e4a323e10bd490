"""Points of other runtimes beside those of onnxruntime: which of a model's points a baseline takes, and its check."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from msgspec.structs import replace

from edgeprof import process
from edgeprof.baselines import Baseline, chosen
from edgeprof.baselines.check import CheckRequest
from edgeprof.baselines.table import of_target
from edgeprof.errors import EdgeprofError, UsageError
from edgeprof.measure.launch import request_of
from edgeprof.measure.schedule import Job, Prepared
from edgeprof.process import LOCAL, Executor
from edgeprof.schema import CPU, Agreement, Artifact, ProviderReceipt, Target
from edgeprof.text import joined


def targets(names: Sequence[str]) -> list[Target]:
    """What `--baseline` names.

    Raises:
        UsageError: as `baselines.chosen`.
    """
    return [row.target() for row, _ in chosen(names)]


def accepting(artifact: Artifact, requested: Sequence[Target]) -> tuple[Target, ...]:
    """The targets that measure an artifact: all but baselines that do not."""
    return tuple(target for target in requested if not target.is_baseline or not _refusal(artifact, target))


def refusals(artifacts: Sequence[Artifact], requested: Sequence[Target]) -> list[str]:
    """What baselines do not measure of artifacts, a sentence for each reason."""
    refused: dict[str, list[str]] = {}
    for target, artifact in product(requested, artifacts):
        if target.is_baseline and (reason := _refusal(artifact, target)):
            refused.setdefault(reason, []).append(f"{artifact.name} {artifact.precision}")
    return [f"{reason}, and so not {joined(names)}." for reason, names in refused.items()]


def _refusal(artifact: Artifact, target: Target) -> str:
    """Why a baseline does not measure an artifact; "" where it does."""
    row = of_target(target)
    if row.reads == "checkpoint" and artifact.variant is None and artifact.architecture is None:
        return f"{row.name} measures models that edgeprof exported"
    if row.precisions and artifact.precision.recipe not in row.precisions:
        return f"{row.name} measures {joined(row.precisions)}"
    return ""


def require_some(jobs: Sequence[Job], requested: Sequence[Target], refused: Sequence[str]) -> None:
    """Check that every baseline has a point.

    Args:
        refused: as `refusals` gives them.

    Raises:
        UsageError: one has none.
    """
    for target in requested:
        if target.is_baseline and not any(job.target == target for job in jobs):
            row = of_target(target)
            none = f"{row.name} can run none of these points."
            reason = next((text for text in refused if text.startswith(f"{row.name} ")), none)
            raise UsageError(reason, _advice(row))


def _advice(row: Baseline) -> str:
    if row.precisions:
        return f"Add {joined(row.precisions)} to --precision, and export it; or omit the baseline."
    return "Omit the baseline, or name a model that it can run."


def checked(job: Job, executor: Executor = LOCAL) -> Job:
    """The job of a baseline, with a comparison of its result with onnxruntime's; where it fails, with the reason."""
    ready = Prepared(model=job.graph.path, inputs=job.inputs, receipt=ProviderReceipt(kind=job.target.kind))
    job = replace(job, prepared=ready)
    request = CheckRequest(
        request=request_of(job),
        original=request_of(replace(job, prepared=None, target=CPU)),
        precision=job.key.subject.precision,
    )
    try:
        agreement = process.call(
            "edgeprof.baselines.check", request, Agreement, timeout_s=job.timeout_s, executor=executor
        )
    except process.ChildTimeout as problem:
        return replace(job, prepared=replace(ready, status="timeout", error=" ".join(str(problem).split())))
    except EdgeprofError as problem:
        return replace(job, prepared=replace(ready, status="unsupported", error=" ".join(str(problem).split())))
    return replace(job, prepared=replace(ready, receipt=replace(ready.receipt, agreement=agreement)))
