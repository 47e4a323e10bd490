"""What has to hold of a provider: every point runs there and agrees, and wrong requests fail with a reason."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgeprof.providers.table import Provider
from edgeprof.schema import Point, ProvokedFailure

from .environment import Environment, Ran
from .models import for_the_cpu_alone, refused

QUICK = ("--rounds", 1, "--max-time", 0, "--runs", 1, "--min-time", 0)
EXPECTED_PHASES = {("bert", "prefill"), ("gpt2", "prefill"), ("gpt2", "decode"), ("vit", "prefill")}


def of_points(points: Sequence[Point], row: Provider, precisions: Sequence[str]) -> Iterator[str]:
    """What is wrong with points, in sentences."""
    for precision in precisions:
        of_one = {(one.facts.family, one.load.phase) for one in points if one.subject.precision.recipe == precision}
        for family, phase in sorted(EXPECTED_PHASES - of_one):
            yield f"{family} {precision}, {phase}: no point."
    for point in points:
        label = point.key.label
        if point.status != "ok":
            yield f"{label}: {point.status}: {point.error}"
        elif row.name != "cpu" and not (point.receipt.placement and point.placement.placed[0].nodes):
            yield f"{label}: no node ran on {row.name}."
        elif point.receipt.agrees is False:
            yield f"{label}: {point.receipt.difference_text}."


def not_installed(environment: Environment, row: Provider) -> ProvokedFailure:
    """Before it is installed, the message has the command."""
    ran = environment.edgeprof("profile", for_the_cpu_alone(environment.work / "words.onnx"), "--ep", row.name)
    expected = ran.code == 1 and (row.install in ran.message or "not available here" in ran.message)
    return ProvokedFailure(what="the provider is not installed", message=ran.message, expected=expected)


def provoked(environment: Environment, row: Provider, models: Path, tokens: int) -> Iterator[ProvokedFailure]:
    """Requests that have to fail on a machine with the device."""

    def profile(*words: object) -> Ran:
        return environment.edgeprof("profile", *words, "--ep", row.name, "--out", "failures", *QUICK)

    bert = ("bert-mini", "--models", models, "--seq", tokens)
    ran = profile(*bert, "--precision", "fp32", "--ep-option", "no_such_option=1")
    yield ProvokedFailure(
        what="an option that the provider does not have",
        message=ran.message,
        expected=ran.code == 2 and "no_such_option" in ran.message,
    )
    if precision := refused(row):
        ran = profile(*bert, "--precision", precision)
        yield ProvokedFailure(
            what=f"a precision that the provider does not accept: {precision}",
            message=ran.message,
            expected=ran.code == 2 and f"{row.name} does not accept {precision}" in ran.message,
        )
    if row.name != "cpu":
        ran = profile(for_the_cpu_alone(environment.work / "words.onnx"), "--json")
        statuses = [one["status"] for one in msgspec.json.decode(ran.out)["points"]] if ran.out else []
        reasons = [one["error"] for one in msgspec.json.decode(ran.out)["points"]] if ran.out else []
        yield ProvokedFailure(
            what="a graph that only the CPU provider can run",
            message="; ".join(reasons) or ran.message,
            expected=ran.code == 1 and statuses in (["unsupported"], ["failed"]),
        )
