"""`edgeprof profile bert-tiny --on ...` from the command to the report, over TLS agents and over ssh."""

import re
from collections.abc import Callable
from pathlib import Path

from command import Command
from transport_parts import Cluster, Server, save
from whole_runs import Terminal, run_line, table, visits

from edgeprof import load_run

POINT = r"round 1, 2 of 2 points: bert-tiny fp32, prefill at (4|16) tokens"


def drawn(terminal: Terminal, text: str) -> Callable[[str], bool]:
    """Whether a line of a device ends with a text."""
    return lambda name: any(re.search(rf"\d+% \d:\d\d:\d\d {name}: {text}$", line) for line in terminal.lines)


def test_agents_make_one_run_with_a_line_and_a_series_for_each(
    cluster: Cluster, models: Path, tmp_path: Path, edgeprof: Command
) -> None:
    terminal = Terminal(run_line("one,two", cluster.fleet, models, tmp_path, "--rounds", 1))
    code, printed = terminal.end()
    assert code == 0, terminal.lines
    folder = tmp_path / "boards"
    assert sorted(visits(folder)) == [(name, tokens, 0, "ok") for name in ("one", "two") for tokens in (4, 16)]
    assert sorted((row["host"], row["tokens"]) for row in table(folder)) == [
        ("one", "16"),
        ("one", "4"),
        ("two", "16"),
        ("two", "4"),
    ]
    assert {host.name: host.machine.cores_allowed for host in load_run(folder).hosts} == {"one": 1, "two": 1}
    assert re.search(r"device .*latency", printed)
    # a line for each device, which says what it does
    for text in (POINT, r"sending model\.onnx\.data", "done"):
        assert all(map(drawn(terminal, text), ("one", "two"))), (text, terminal.lines)
    assert any(
        " one: " in above and " two: " in below for above, below in zip(terminal.lines, terminal.lines[1:], strict=False)
    )
    # its figures have the device as a series
    assert edgeprof("report", folder).code == 0
    report = (folder / "report.md").read_text()
    assert "Prefill latency by device" in report
    assert (folder / "figures/prefill-latency-by-device.png").is_file()
    assert "--on one,two" in report


def test_ssh_makes_a_run(sshd: Server, models: Path, tmp_path: Path) -> None:
    fleet = save(tmp_path / "fleet.toml", f"[devices.board]\n{sshd.device()}")
    terminal = Terminal(run_line("board", fleet, models, tmp_path, "--rounds", 1))
    code, printed = terminal.end()
    assert code == 0, terminal.lines
    folder = tmp_path / "boards"
    assert sorted(visits(folder)) == [("board", 4, 0, "ok"), ("board", 16, 0, "ok")]
    assert {row["host"] for row in table(folder)} == {"board"}
    assert "board" in printed
    assert drawn(terminal, POINT)("board")
