"""Time ONNX files at several shapes, each file in a process of its own."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgeprof.api.targets import foreign
from edgeprof.inputs import LoadRequest
from edgeprof.inputs.run_inputs import of_file, of_variant, signature_of_artifact
from edgeprof.measure import machine
from edgeprof.schema import Case, Phase, Variant, encode
from tests.benchmarks.harness import HERE, python
from tests.benchmarks.lengths_loop import Request, Shape

MIN_RUNS = 3
MIN_TIME_S = 0.25


def shapes(model: Path, variant: Variant | None, cases: Sequence[Case]) -> tuple[Shape, ...]:
    """The same values for every file made of one model, in the types that this file takes."""
    artifact = foreign(model)
    accepted = signature_of_artifact(artifact, artifact.graph())
    if variant is not None:
        return tuple(of_variant(accepted, variant, case).values for case in cases)
    phases: list[Phase] = ["decode" if case.past_tokens else "prefill" for case in cases]
    loads = [
        LoadRequest(phase=phase, batch=case.batch, length=case.past_tokens or case.tokens)
        for phase, case in zip(phases, cases, strict=True)
    ]
    return tuple(of_file(accepted, load).values for load in loads)


def time_lengths(model: Path, expected: tuple[Shape, ...], work: Path) -> list[float]:
    """Median latencies in seconds, by shape.

    Raises:
        Failed: the file does not load or does not run.
    """
    request = Request(
        model=str(model),
        threads=machine.describe().cores_allowed,
        shapes=expected,
        min_runs=MIN_RUNS,
        min_time_s=MIN_TIME_S,
    )
    file = work / "request.json"
    file.write_bytes(encode(request))
    output = python(HERE / "lengths_loop.py", file, cwd=work).output
    return msgspec.json.decode(output.strip().splitlines()[-1], type=list[float])
