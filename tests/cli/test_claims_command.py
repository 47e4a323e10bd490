"""`edgeprof claims` as a user runs it."""

from pathlib import Path

from builders import length_runs
from command import Command

from edgeprof.analysis.claims import CLAIMS

HEAVY = ("torch", "transformers", "matplotlib", "scipy", "onnx", "onnxruntime", "jinja2")


def test_without_a_run_it_checks_what_can_be_computed(edgeprof: Command) -> None:
    ran = edgeprof("claims", PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0
    lines = ran.out.splitlines()
    for claim in CLAIMS:
        assert f"{claim.number:2}  {claim.text}" in lines
    assert "    computed: 589,824 weights, whatever the number of tokens" in lines
    assert "    not checked: no run in reports has bert-base and gpt2 at 5 lengths; add --measure" in lines
    assert lines[-2:] == [
        "4 confirmed with a correction, 9 confirmed, 1 not checked, 1 wrong",
        "No run was used, so no page is written.",
    ]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.sentences}
    assert not imported.intersection(HEAVY)


def test_a_run_confirms_the_measured_claim(edgeprof: Command, tmp_path: Path) -> None:
    length_runs.write(tmp_path / "reports" / "mine", length_runs.visits())
    ran = edgeprof("claims", "mine")
    assert (ran.code, ran.sentences) == (0, [])
    assert "    bert-base: time = 2.02 ms + 1.01 ms n for n tokens, at most 0.0 % from what was measured" in ran.out
    assert ran.out.splitlines()[-1] == "reports/mine/claims.md"
    assert (tmp_path / "reports" / "mine" / "claims.md").is_file()


def test_a_program_can_read_it(edgeprof: Command, tmp_path: Path) -> None:
    length_runs.write(tmp_path / "reports" / "mine", length_runs.visits())
    checked = edgeprof("claims", "--json").json
    assert [claim["number"] for claim in checked] == [claim.number for claim in CLAIMS]
    assert checked[0]["numbers"] == {"weights": 154_618_822_656, "macs": 154_618_822_656}
    assert (checked[0]["verdict"], checked[0]["recorded"]) == ("confirmed with a correction",) * 2
    assert checked[7]["run"] == "reports/mine"
    assert [len(fitted["points"]) for fitted in checked[7]["growths"]] == [5, 5]


def test_a_verdict_that_has_changed_fails_and_is_named(edgeprof: Command, tmp_path: Path) -> None:
    length_runs.write(tmp_path / "reports" / "flat", length_runs.visits(seconds=lambda tokens: 0.1))
    for words in ((), ("--json",)):
        ran = edgeprof("claims", "flat", *words)
        assert ran.code == 1
        assert ran.sentences == [
            "edgeprof: Verdicts have changed: claim 8 is 'not shown', recorded as 'confirmed'. "
            "Measure again on a quiet machine: edgeprof claims NEW-NAME --measure"
        ]
        assert "The time of bert-base does not differ clearly" in ran.out
    assert "    not shown (recorded: confirmed): The time" in edgeprof("claims", "flat").out


def test_wrong_runs_are_wrong_usage(edgeprof: Command, tmp_path: Path) -> None:
    length_runs.write(tmp_path / "reports" / "short", length_runs.visits(lengths=[16, 64]))
    ran = edgeprof("claims", "shrt")
    assert (ran.code, ran.sentences) == (2, ["edgeprof: There is no run called 'shrt'. Did you mean short?"])
    ran = edgeprof("claims", "short")
    assert ran.code == 2
    (sentence,) = ran.sentences
    assert "Run 'short' lacks bert-base fp32 prefill at 5 token lengths (there is only 16, 64) and gpt2" in sentence
