"""`edgeprof compare` as a user runs it, on recorded runs."""

from pathlib import Path

import pytest
from builders import length_runs
from command import Command


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """ "before" and "after", in which gpt2 takes 10 % longer."""
    before, after = (tmp_path / "reports" / name for name in ("before", "after"))
    length_runs.write(before, length_runs.visits(["gpt2"], [64]))
    length_runs.write(
        after, length_runs.visits(["gpt2"], [64], seconds=lambda tokens: 1.1 * length_runs.line_s(tokens))
    )
    return tmp_path


def test_it_shows_a_table_and_fails_above_a_limit(runs: Path, edgeprof: Command) -> None:
    ran = edgeprof("compare", "before", "after")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[:2] == ["A: before   B: after", "B is slower than A at 1 of 1 point."]
    assert lines[3].split()[:3] == ["phase", "batch", "tokens"]
    assert lines[4].split()[:8] == ["prefill", "1", "64", "66.7", "ms", "73.3", "ms", "1.100"]
    failing = edgeprof("compare", "before", "after", "--fail-above", "5%")
    assert failing.code == 1
    assert "slower by more than 5%: gpt2 fp32, prefill at 64 tokens, 1.100 times A" in failing.out
    assert edgeprof("compare", "before", "after", "--fail-above", "15%").code == 0


def test_markdown_and_json(runs: Path, edgeprof: Command) -> None:
    printed = edgeprof("compare", "before", "after", "--markdown", "-")
    assert printed.out.splitlines()[0] == "# after against before"
    assert "| prefill | 64 | 66.7 | 73.3 | 1.100 |" in printed.out
    assert edgeprof("compare", "before", "after", "--markdown", "it.md").code == 0
    assert (runs / "it.md").read_text() == printed.out
    result = edgeprof("compare", "before", "after", "--json").json
    assert [point["verdict"] for point in result["points"]] == ["slower"]
    both = edgeprof("compare", "before", "after", "--json", "--markdown", "-")
    assert (both.code, len(both.sentences)) == (2, 1)
