"""`verify`: hold files against the values PyTorch gave, again, anywhere; needs no torch.

A file from elsewhere has no such values: it is held against itself, run without onnxruntime's optimizations. So is an
exported one at sizes that its reference values do not have.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof.api.sizing import Sizing, inputs_of
from edgeprof.api.targets import any_model
from edgeprof.api.trial_inputs import alternatives
from edgeprof.errors import RunError, UsageError, VerificationError
from edgeprof.families import traced_variant
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Verified, Verify
from edgeprof.fleet.opening import open_links
from edgeprof.fleet.send import ask_with_files, content_of
from edgeprof.fleet.several import of_each
from edgeprof.fleet.turn import client
from edgeprof.inputs import LoadRequest, Signature, tensors
from edgeprof.inputs.run_inputs import Inputs, signature_of_artifact
from edgeprof.process import Progress, part, silent
from edgeprof.schema import Artifact, Graph, InputValue, Phase
from edgeprof.stages import onnx_reference
from edgeprof.stages import verify as verify_stage
from edgeprof.store import MODELS, REFERENCE_FILE, sha256_of_all

LENGTH = 16
"""Tokens at which a file is run where none are asked for."""

ITSELF = "itself without onnxruntime's optimizations"


def verify(
    targets: Sequence[str] = (),
    *,
    seq: Sequence[int] = (),
    batch: Sequence[int] = (),
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    on: Sequence[str] = (),
    fleet: Path | None = None,
    insecure: bool = False,
    models: Path = MODELS,
    progress: Progress = silent,
) -> list[Artifact]:
    """Check that files are unchanged and, in the installed onnxruntime, compute what PyTorch computed.

    A file from elsewhere, or any file at requested sizes, has no results of PyTorch: it is compared with itself, run
    without onnxruntime's optimizations.

    >>> [(str(one.precision), one.checks[0].against) for one in verify(["bert-tiny"])]
    [('fp32', 'PyTorch'), ('int8', 'PyTorch')]

    Args:
        targets: names below `models`, artifact folders, or .onnx files; by default all exported models.
        seq, batch, dim, input: sizes and values, as in `profile`.
        on: devices somewhere else that compute instead of this machine, as in `profile`.
        fleet, insecure: as in `profile`.
        models: the folder that `export` filled.
        progress: called with the current step.

    Returns:
        The artifacts with their new checks; of several devices, one after the other.

    Raises:
        UsageError: no such model, or one that cannot be run at these sizes.
        VerificationError: a file was changed, or an output differs; says on which device.
        DeviceLost: a device does not answer.
    """
    sizing = Sizing(seq=tuple(seq), batch=tuple(batch), dims=dict(dim or {}), files=dict(input or {}))
    if on and sizing:
        raise UsageError("--on verifies at the sizes of PyTorch's values.", "Omit --seq, --batch, --dim and --input.")
    artifacts = any_model(targets, models)
    if on:
        with open_links(on, fleet=fleet, insecure=insecure) as links:
            return _elsewhere(links, artifacts, progress)
    checked = []
    for index, artifact in enumerate(artifacts):
        step = part(progress, f"{artifact.name} {artifact.precision}", index, len(artifacts))
        step("reading", 0.0)
        if artifact.key and not sizing:
            _require_unchanged(artifact)
            checked.append(verify_stage.verify(artifact, step))
        else:
            checked.append(_with_itself(artifact, sizing, step))
    return checked


def _elsewhere(links: Sequence[Link], artifacts: Sequence[Artifact], progress: Progress) -> list[Artifact]:
    """The artifacts as the devices verify them, which work at the same time."""
    for artifact in artifacts:
        if artifact.key:
            _require_unchanged(artifact)

    def on_one(link: Link) -> list[Artifact]:
        return [_on(link, artifact, progress) for artifact in artifacts]

    return [checked for of_link in of_each(links, on_one) for checked in of_link]


def _on(link: Link, artifact: Artifact, progress: Progress) -> Artifact:
    """The artifact with the checks that a device made."""
    progress(f"{link.name}: {artifact.name} {artifact.precision}", None)
    files = content_of(artifact)
    try:
        shown: Progress = lambda activity, _: progress(f"{link.name}: {activity}", None)  # noqa: E731
        there = ask_with_files(link, Verify(files=files.content, client=client()), files, Verified, shown).artifact
    except VerificationError as problem:
        problem.what = problem.what.removeprefix(f"{link.name}: ")
        raise problem.about(f"{link.name}, {artifact.name} {artifact.precision}")  # noqa: B904  (the same error)
    checks = [tuple(replace(check, host=link.name) for check in graph.checks) for graph in there.graphs]
    if len(checks) != len(artifact.graphs):
        raise RunError(f"{link.name} replied about another model.", "Install the same edgeprof on it.")
    pairs = zip(artifact.graphs, checks, strict=True)
    return artifact.with_graphs([replace(graph, checks=own) for graph, own in pairs])


def _require_unchanged(artifact: Artifact) -> None:
    """Check that files are those that were exported.

    Raises:
        VerificationError: one has another digest.
    """
    data = tuple(map(Path, artifact.data_files))
    digests = [((Path(one.path),), one.sha256) for one in artifact.graphs] + [(data, artifact.data_sha256)]
    for files, digest in digests:
        if files and digest and sha256_of_all(files) != digest:
            names = ", ".join(map(str, files))
            raise VerificationError(f"{names} is not the file that was exported.", "Export it again with --force.")


def _with_itself(artifact: Artifact, sizing: Sizing, progress: Progress) -> Artifact:
    return artifact.with_graphs([_graph_with_itself(artifact, graph, sizing, progress) for graph in artifact.graphs])


def _graph_with_itself(artifact: Artifact, graph: Graph, sizing: Sizing, progress: Progress) -> Graph:
    signature = signature_of_artifact(artifact, graph)
    phase: Phase = "decode" if signature.step_only else "prefill"
    sized = sizing.dims or sizing.files or not signature.sized_by_length
    one_size = len(artifact.graphs) > 1 and not signature.sized_by_length  # an image beside texts
    runs = [
        inputs_of(artifact, signature, load, dims=sizing.dims, files=sizing.files)
        for length in (() if one_size else sizing.seq) or (None if sized else LENGTH,)
        for batch in sizing.batch or (None,)
        for load in [LoadRequest(phase=phase, batch=batch, length=length)]
    ]
    for run in runs if graph.shared_cache else ():
        run.require_right_padding()
    candidates = [
        onnx_reference.Candidate(run.case, {value.name: tensors.make_array(value) for value in values})
        for run in runs
        for values in ([run.values] if traced_variant(artifact) else _refilled(signature, run))
    ]
    advice = "Run it without optimizations, and report it to onnxruntime."
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as scratch:
        reference = Path(scratch) / REFERENCE_FILE
        onnx_reference.record(graph, candidates, reference, progress, optimized=False)
        checks = verify_stage.compare_with(graph, artifact.precision, reference, ITSELF, advice, progress)
    return replace(graph, checks=checks)


def _refilled(signature: Signature, run: Inputs) -> list[tuple[InputValue, ...]]:
    return [run.refilled(signature, fills).values for fills in alternatives(signature, run)]
