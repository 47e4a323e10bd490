"""The accuracy that a recipe costs: outputs compared with those of the fp32 file, on real samples. Needs no torch.

Run as a module, this file is the child process: one session at a time, with the fp32 outputs kept on disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeprof import process
from edgeprof.errors import EdgeprofError, UsageError, VerificationError
from edgeprof.families import family_of, traced_variant
from edgeprof.families.base import Arrays, SampleKind
from edgeprof.inputs.run_inputs import signature_of_artifact
from edgeprof.process import Progress
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import converted, open_session
from edgeprof.schema import Accuracy, Artifact, Limits, Record
from edgeprof.stages import samples as samples_stage
from edgeprof.stages.accuracy_metrics import Tally, Task, compared, predictions, task_of
from edgeprof.stages.samples import Samples, tokenizer_file
from edgeprof.stages.samples.feeds import required
from edgeprof.store import writing


class CompareRequest(Record, frozen=True, kw_only=True):
    reference: str
    model: str
    samples: Samples
    task: Task
    outputs: tuple[str, ...]


def compare(
    reference: Artifact, model: Path, samples: Samples, limits: Limits, progress: Progress = process.silent
) -> Accuracy:
    """Compare `model` with the fp32 artifact `reference` on evaluation samples.

    Embeddings (the mean over tokens of `last_hidden_state`; every vector of a mixer's or a foreign file's outputs) are
    compared by cosine and largest difference; logits also by their distributions; logits of a decoder on text also by
    perplexity. The fp32 outputs are kept in a folder beside the samples file meanwhile.

    Raises:
        UsageError: the fp32 file cannot be run on the samples.
        VerificationError: the other file cannot, or its outputs are not finite.
        ModelFileError: onnxruntime cannot load one of them.
        StorageError: the disk refused.
    """
    request = CompareRequest(
        reference=reference.graph().path,
        model=str(model),
        samples=samples,
        task=task_of(reference),
        outputs=tuple(spec.name for spec in compared(reference)),
    )
    accuracy = process.call("edgeprof.stages.accuracy", request, Accuracy, progress=progress)
    return msgspec.structs.replace(accuracy, beyond=exceeded_limits(accuracy, limits))


def exceeded_limits(accuracy: Accuracy, limits: Limits) -> tuple[str, ...]:
    """A sentence for every limit that is exceeded."""
    sentences = []
    if accuracy.cosine_mean < limits.cosine:
        sentences.append(f"The mean cosine to fp32 is {accuracy.cosine_mean:.6g}, below {limits.cosine:g}.")
    if accuracy.top1 is not None and accuracy.top1 < limits.top1:
        same, least = 100 * accuracy.top1, 100 * limits.top1
        sentences.append(f"The first choice is that of fp32 in {same:.4g} % of cases, below {least:g} %.")
    if accuracy.kl is not None and accuracy.kl > limits.kl:
        sentences.append(f"The KL divergence from fp32 is {accuracy.kl:.4g} nats per prediction, above {limits.kl:g}.")
    if accuracy.perplexity is not None and accuracy.perplexity_fp32 is not None:
        ratio = accuracy.perplexity / accuracy.perplexity_fp32
        if ratio > limits.perplexity:
            sentences.append(
                f"Perplexity is {accuracy.perplexity:.4g} against {accuracy.perplexity_fp32:.4g} in fp32, "
                f"{ratio:.4g} times as much, above {limits.perplexity:g}."
            )
    return tuple(sentences)


def evaluable(artifact: Artifact, *, images: bool = False) -> Artifact | None:
    """What data can evaluate of an artifact: all of it, or of several graphs one that takes a text, or an image, alone.

    Args:
        images: whether the data is images.

    Returns:
        The artifact with that graph alone; None where every graph takes more.
    """
    if len(artifact.graphs) == 1:
        return artifact
    meaning = "pixels" if images else "ids"
    for graph in artifact.graphs:
        accepted = signature_of_artifact(artifact, graph)
        needed = [spec.name for spec in required(accepted)]
        alone = [one for one in accepted.inputs if [one.name] == needed and one.meaning == meaning]
        if alone and graph.role != "embedding":
            return artifact.only(graph.role)
    return None


def why_not_evaluated(artifact: Artifact, checkpoint: Path | None = None) -> str:
    """Why edgeprof's own data cannot evaluate the accuracy of a model; "" where they can."""
    missing = _missing(artifact, checkpoint)
    return f"structure verified; no accuracy statement: {missing}" if missing else ""


def _missing(artifact: Artifact, checkpoint: Path | None) -> str:
    if artifact.weights.kind == "random":
        return "weights are random"
    if not artifact.exported:
        return "edgeprof has no data for a file that it did not export"
    if len(artifact.graphs) > 1:
        return "no graph takes text alone"
    if (kind := _sample_kind(artifact)) != "text":
        return "edgeprof ships no images" if kind == "image" else "edgeprof ships no data for this kind of model"
    try:
        tokenizer_file(artifact, checkpoint)
    except UsageError:
        return "there is no tokenizer.json beside the weights"
    return ""


def _sample_kind(artifact: Artifact) -> SampleKind:
    variant = traced_variant(artifact)
    if variant is not None:
        return family_of(variant).sample_kind
    meanings = {one.meaning for one in signature_of_artifact(artifact, artifact.graph()).inputs}
    return "text" if "ids" in meanings else "image" if "pixels" in meanings else "none"


# --- in the child ----------------------------------------------------------------------------------------------


def run(request: CompareRequest, progress: Progress) -> Accuracy:
    tally = Tally(distributions=request.task != "embedding")
    beside = Path(request.samples.path).parent
    with writing(beside), tempfile.TemporaryDirectory(dir=beside, prefix=".outputs-") as folder:
        _keep(request, Path(folder), process.part(progress, "fp32", 0, 2))
        _compare(request, Path(folder), tally, process.part(progress, "comparing", 1, 2))
    if not tally.predictions:
        raise UsageError(f"{request.samples.path} holds nothing to compare.", "Provide longer samples.")
    perplexity_fp32, perplexity = tally.perplexities or (None, None)
    return Accuracy(
        task=request.task,
        data=request.samples.data,
        samples=request.samples.samples,
        predictions=tally.predictions,
        cosine_mean=tally.cosine_mean,
        cosine_min=tally.cosine_min,
        max_rel_error=tally.max_rel_error,
        kl=tally.kl,
        top1=tally.top1,
        perplexity_fp32=perplexity_fp32,
        perplexity=perplexity,
    )


def _keep(request: CompareRequest, folder: Path, progress: Progress) -> None:
    """Write the compared vectors of every fp32 output."""
    for number, feeds, outputs in _outputs(request, request.reference, progress):
        for index, (name, output) in enumerate(zip(request.outputs, outputs, strict=True)):
            np.save(folder / f"{number}-{index}.npy", predictions(request.task, name, output, feeds)[0])


def _compare(request: CompareRequest, folder: Path, tally: Tally, progress: Progress) -> None:
    for number, feeds, outputs in _outputs(request, request.model, progress):
        for index, (name, output) in enumerate(zip(request.outputs, outputs, strict=True)):
            vectors, labels = predictions(request.task, name, output, feeds)
            expected = np.load(folder / f"{number}-{index}.npy", mmap_mode="r")
            if expected.shape != vectors.shape:
                raise _unfit(request, request.model, f"gives output {name} another shape than fp32 on a sample")
            tally.add(expected, vectors, labels)


def _outputs(request: CompareRequest, model: str, progress: Progress) -> Iterator[tuple[int, Arrays, list[Any]]]:
    """Number and feeds of every sample, with the outputs of a file."""
    session = open_session(model)
    for number, feeds in enumerate(samples_stage.read(request.samples.path)):
        progress(f"sample {number + 1} of {request.samples.samples}", number / request.samples.samples)
        with ort_errors(partial(_not_run, request, model, number)):
            outputs: list[Any] = session.run(list(request.outputs), converted(session, feeds))
        if not all(np.isfinite(output).all() for output in outputs):
            raise _unfit(request, model, f"gives NaN or infinity on sample {number}")
        yield number, feeds, outputs


def _not_run(request: CompareRequest, model: str, number: int, reason: str) -> EdgeprofError:
    return _unfit(request, model, f"cannot be run on sample {number} ({reason})")


def _unfit(request: CompareRequest, model: str, what: str) -> EdgeprofError:
    """A failure of the fp32 file is due to the samples; a failure of the other file alone is due to that file."""
    if model == request.reference:
        return UsageError(f"{model} {what} of {request.samples.data}.", "Provide samples that suit the model.")
    return VerificationError(f"{model} {what} of {request.samples.data}.", "Try another --precision.")


if __name__ == "__main__":
    process.serve(run, CompareRequest)
