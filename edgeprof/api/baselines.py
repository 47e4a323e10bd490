"""Points of other runtimes beside those of onnxruntime: which of a model's points a baseline takes, and its check."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from msgspec.structs import replace

from edgeprof import kv_cache, process, store
from edgeprof.baselines import Baseline, chosen
from edgeprof.baselines.check import CheckRequest
from edgeprof.baselines.table import of_target
from edgeprof.errors import EdgeprofError, UsageError
from edgeprof.measure.launch import request_of
from edgeprof.measure.schedule import Job, Prepared
from edgeprof.process import LOCAL, Executor
from edgeprof.schema import CPU, FP32, Agreement, Artifact, FileState, Precision, ProviderReceipt, Subject, Target
from edgeprof.text import joined


def targets(names: Sequence[str]) -> list[Target]:
    """What `--baseline` names.

    Raises:
        UsageError: as `baselines.chosen`; or a file that is not there.
        ModelFileError: a baseline cannot load the file that was named for it.
    """
    return [_with_file(row, Path(file)) if file else row.target() for row, file in chosen(names)]


def _with_file(row: Baseline, file: Path) -> Target:
    from edgeprof.baselines.llama_cpp_engine import describe

    if not file.is_file():
        raise UsageError(f"There is no file {file}.", f"Example: --baseline {row.name}=path/to/model.gguf")
    return row.target(str(file.resolve()), describe(file).precision)


def subject_on(target: Target, subject: Subject) -> Subject:
    """What runs on a target: the artifact, or the file that a baseline reads in its place."""
    if not target.is_baseline or not target.library:
        return subject
    precision = Precision.parse(target.options["precision"])
    return replace(subject, precision=precision, digest=store.sha256_of(Path(target.library)), structure="")


def files_on(target: Target) -> tuple[FileState, ...]:
    """The state of the file that a baseline reads in place of the artifact."""
    return (store.state_of(Path(target.library)),) if target.is_baseline and target.library else ()


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
    if row.reads == "gguf" and artifact.precision.recipe != FP32:
        return f"{row.name} measures its own file, once beside {FP32}"
    if row.reads == "gguf" and not _continues_text(artifact):
        return f"{row.name} measures decoders with logits"
    if row.precisions and artifact.precision.recipe not in row.precisions:
        return f"{row.name} measures {joined(row.precisions)}"
    return ""


def _continues_text(artifact: Artifact) -> bool:
    """Whether a model is one graph from token ids and a KV cache to logits."""
    names = [spec.name for spec in artifact.graphs[0].inputs]
    logits = any(spec.name == "logits" for spec in artifact.graphs[0].outputs)
    return len(artifact.graphs) == 1 and "input_ids" in names and any(map(kv_cache.is_past, names)) and logits


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
    own = job.target.library
    ready = Prepared(
        model=own or job.graph.path,
        weights_folder=str(Path(job.graph.path).parent) if own else "",
        inputs=job.inputs,
        receipt=ProviderReceipt(kind=job.target.kind),
    )
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
