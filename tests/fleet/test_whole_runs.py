"""`edgeprof profile bert-tiny --on ...` from the command to the report, over TLS agents and over ssh."""

import re
import sys
from itertools import pairwise
from pathlib import Path

from command import Command
from transport_parts import Cluster, Server, save
from whole_runs import Terminal, run_line, table, visits

from edgeprof import load_run


def drawn(terminal: Terminal, name: str, text: str) -> bool:
    """Whether the line of a device had a text, after the share that is done and the time taken."""
    return any(re.search(rf"\d+% \d:\d\d:\d\d {name}: {text}$", line) for line in terminal.lines)


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
    for name in ("one", "two"):
        assert drawn(terminal, name, f"round 1, 2 of 2 points: bert-tiny fp32 on {name}, prefill at (4|16) tokens")
        assert drawn(terminal, name, r"sending model\.onnx\.data")
        assert drawn(terminal, name, "done")
    assert any(" one: " in above and " two: " in below for above, below in pairwise(terminal.lines))
    # its figures have the device as a series
    assert edgeprof("report", folder).code == 0
    report = (folder / "report.md").read_text()
    assert "Prefill latency by device" in report
    assert (folder / "figures/prefill-latency-by-device.png").is_file()
    assert "--on one,two" in report


def test_ssh_makes_a_run_of_what_the_device_can_keep(
    sshd: Server, models: Path, tmp_path: Path, edgeprof: Command
) -> None:
    """10 MB a file at most, as on a disk that is nearly full: int8 fits, fp32 with its 17.5 MB does not."""
    limits = f"ulimit -f 20480\nexport EDGEPROF_CACHE={tmp_path / 'cache'}"
    small = save(tmp_path / "python", f'#!/bin/sh\n{limits}\nexec {sys.executable} "$@"\n')
    small.chmod(0o755)
    fleet = save(tmp_path / "fleet.toml", f"[devices.board]\n{sshd.device(python=str(small))}")
    ran = edgeprof(*run_line("board", fleet, models, tmp_path, "--rounds", 1, "--precision", "fp32,int8")[3:])
    assert ran.code == 1
    rows = table(tmp_path / "boards")
    seen = [(row["host"], row["precision"], row["tokens"], row["status"]) for row in rows]
    assert sorted(seen) == [
        ("board", "fp32", "16", "failed"),
        ("board", "fp32", "4", "failed"),
        ("board", "int8", "16", "ok"),
        ("board", "int8", "4", "ok"),
    ]
    errors = {row["error"] for row in rows if row["status"] == "failed"}
    assert len(errors) == 1
    assert re.fullmatch(
        r"board: Cannot write \S+/content/partial/[0-9a-f]{64}: a file may not be so large here\. "
        r"Remove what is not needed: edgeprof fleet clean",
        errors.pop(),
    )
