"""Generation as users think of it: time to the first token, time per output token, tokens per second at a depth."""

import statistics
from collections.abc import Iterable

from edgeprof import units
from edgeprof.schema import Generated, GenerationPass, Point


def rows(passes: Iterable[GenerationPass], points: Iterable[Point]) -> list[Generated]:
    """The newest successful generation of every point, beside the single step that was timed there."""
    steps = {point.key.lasting: point.latency.median_s for point in points if point.latency}
    newest = {one.key.lasting: one for one in passes if one.outcome.reading}
    return [found for key, one in newest.items() if (found := _row(one, steps.get(key)))]


def _row(one: GenerationPass, single_step_s: float | None) -> Generated | None:
    reading = one.outcome.reading
    if reading is None:
        return None
    token_s = statistics.median(reading.tokens_s) if reading.tokens_s else None
    besides = [token - run for token, run in zip(reading.tokens_s, reading.runs_s, strict=True)]
    return Generated(
        key=one.key,
        tokens=one.tokens,
        first_token_s=reading.first_token_s,
        token_s=token_s,
        besides_s=statistics.median(besides) if besides else None,
        tokens_per_s=one.key.load.batch / token_s if token_s else None,
        single_step_s=single_step_s,
    )


def sentence(one: GenerationPass, points: Iterable[Point]) -> str:
    """What a generation showed."""
    found = rows([one], points)
    name = f"{one.key.subject.model} {one.key.subject.precision}"
    prompt = f"a prompt of {units.counted(one.key.load.past_tokens, 'token')}"
    if not found:
        return f"{name} after {prompt}: {one.outcome.status}: {one.outcome.error}"
    (row,) = found
    first = f"{name} after {prompt}: first token after {units.duration(row.first_token_s)}"
    if row.token_s is None or row.besides_s is None or row.tokens_per_s is None:
        return f"{first}."
    single = f"; a single step takes {units.duration(row.single_step_s)}" if row.single_step_s else ""
    return (
        f"{first}, then {units.duration(row.token_s)} per token ({units.number(row.tokens_per_s)} tokens/s, "
        f"{row.tokens:,} tokens), of which the loop takes {units.duration(row.besides_s)} besides the run{single}."
    )
