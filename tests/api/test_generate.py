"""`profile --generate`: real greedy loops, with a cache in place and one that grows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edgeprof import profile, write_report
from edgeprof.analysis.generation import rows
from edgeprof.api.sizing import inputs_of
from edgeprof.errors import UsageError
from edgeprof.inputs import LoadRequest, signature
from edgeprof.measure.generation_worker import Loop
from edgeprof.providers.session import open_request
from edgeprof.schema import GenerationReading, Request, StoppingRule

QUICK: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0.0, "threads": 1}


def test_a_loop_is_timed_beside_the_single_step(models: Path, portable_models: Path, tmp_path: Path) -> None:
    files = [str(models / "gpt2-small/fp32"), str(portable_models / "gpt2-small-portable/fp32")]
    run = profile(files, seq=[8], phase="decode", generate=5, out=tmp_path, name="loop", **QUICK)
    assert not run.failed
    for one, sentence in zip(run.generations, run.generated, strict=True):
        assert one.outcome.status == "ok", one.outcome.error
        reading = one.outcome.reading
        assert isinstance(reading, GenerationReading)
        assert (len(reading.tokens_s), len(reading.runs_s)) == (4, 4)
        assert all(run_s < token_s for run_s, token_s in zip(reading.runs_s, reading.tokens_s, strict=True))
        assert "after a prompt of 8 tokens: first token after " in sentence
    assert [row.single_step_s for row in rows(run.generations, run.points)] == [
        point.latency.median_s
        for one in run.generations
        for point in run.points
        if point.key == one.key and point.latency
    ]
    page = write_report(run.folder)
    assert "Time to first token (ms)" in page.read_text()
    again = profile(files, seq=[8], phase="decode", generate=5, out=tmp_path, name="loop", **QUICK)
    assert again.generations == run.generations


def test_what_cannot_generate_is_refused_before_anything_is_measured(
    models: Path, artifacts: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="None of these points can generate"):
        profile([artifacts["bert", "fp32"].location], seq=[8], generate=5, out=tmp_path, **QUICK)
    with pytest.raises(UsageError, match="8 with 1,000 generated are more"):
        profile([str(models / "gpt2-small/fp32")], seq=[8], generate=1000, out=tmp_path, **QUICK)


@pytest.mark.parametrize("name", ["gpt2", "gpt2-portable"])
def test_the_tokens_are_those_of_a_run_over_everything_so_far(name: str, artifacts: dict[tuple[str, str], Any]) -> None:
    """With a cache in place and one that grows, two sequences: each token again without a cache."""
    artifact = artifacts[name, "fp32"]
    graph = artifact.graph_for("decode")
    accepted = signature(graph.inputs, outputs=graph.outputs)
    inputs = inputs_of(artifact, accepted, LoadRequest(phase="decode", batch=2, length=6), dims={}, files={})
    request = Request(
        model=graph.path,
        threads=1,
        inputs=inputs.values,
        stopping=StoppingRule(min_runs=5),
        shared_tokens=7 if graph.shared_cache else 0,
    )
    session = open_request(request)
    loop = Loop(session, request)
    loop.generate(5)
    tokens = loop.prompt
    for chosen in loop.chosen:
        whole = Loop(session, replace(request, stopping=StoppingRule(min_runs=10)))
        assert (whole._next(tokens) == chosen).all()
        tokens = np.concatenate([tokens, chosen], axis=1)
