"""A file whose every name steers the terminal: what commands print and write holds none of it."""

from pathlib import Path

import hostile_files
import onnx
import pytest
from builders.records import flat
from command import Command
from onnx import TensorProto, helper

AXIS = f"batch{hostile_files.NAME}".replace("\0", "")
"""No command line can hold the character 0."""

SIZE = ("--dim", f"{AXIS}=2")
QUICK = ("--rounds", 1, "--max-time", 0, "--runs", 2, "--min-time", 0.01)


def save(path: Path, *, operator: str = "") -> Path:
    """x [batch, sequence] times 8 x 8 ones, all under hostile names; behind it an operator that nobody knows."""
    name = hostile_files.NAME
    x = helper.make_tensor_value_info(f"x{name}", TensorProto.FLOAT, [AXIS, 8])
    y = helper.make_tensor_value_info(f"y{name}", TensorProto.FLOAT, [AXIS, 8])
    weight = helper.make_tensor(f"w{name}", TensorProto.FLOAT, [8, 8], [1.0] * 64)
    nodes = [helper.make_node("MatMul", [x.name, weight.name], [y.name], name=name)]
    if operator:
        nodes += [helper.make_node(operator, [y.name], [f"z{name}"], name=f"2{name}", domain=name)]
    graph = helper.make_graph(nodes, name, [x], [y], [weight], doc_string=name)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(name, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name=name), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "\x1b[31mred\u202e$.onnx")


def test_no_name_reaches_the_terminal_as_it_is(file: Path, edgeprof: Command) -> None:
    for words in (
        ("explain", file, *SIZE),
        ("profile", file, *SIZE, "--ops", *QUICK),
        ("profile", file, "--dim", f"other{AXIS}=2"),
        ("quantize", file),
        ("buckets", file, "--lengths", AXIS),
        ("export", f"./{AXIS}"),
    ):
        ran = edgeprof(*words)
        shown = ran.out + ran.err
        assert hostile_files.unprintable(shown) == set(), words
        assert "error it does not know" not in shown, words
        assert shown, words


def test_an_operator_that_nobody_knows_is_named(tmp_path: Path, edgeprof: Command) -> None:
    ran = edgeprof("explain", save(tmp_path / "m.onnx", operator=f"Op{hostile_files.NAME}"), *SIZE)
    assert hostile_files.unprintable(ran.out + ran.err) == set()


def test_records_hold_the_names_and_pages_show_them(file: Path, edgeprof: Command, tmp_path: Path) -> None:
    """JSON has them written out as JSON does it: a script gets what the file holds."""
    ran = edgeprof("profile", file, "--name", "run", "--json", *SIZE, *QUICK)
    assert hostile_files.unprintable(ran.out) == set()
    assert {flat(point)["variant"] for point in ran.json["points"]} == {file.stem}
    assert edgeprof("report", "run").code == 0
    run = tmp_path / "reports" / "run"
    for page in (run / "index.html", run / "report.md", run / "measurements.csv", *(run / "figures").glob("*.svg")):
        assert hostile_files.unprintable(page.read_text()) == set(), page
    assert "\\x1b[31mred" in (run / "index.html").read_text()


def test_a_name_that_is_no_text_is_one_sentence(tmp_path: Path, edgeprof: Command) -> None:
    """Linux takes any bytes as a name, and records are UTF-8."""
    ran = edgeprof("explain", save(tmp_path / "m.onnx").rename(tmp_path / "\udcff.onnx"), "--json")
    assert (ran.code, ran.sentences) == (2, [f"edgeprof: {tmp_path}/\\udcff.onnx is not UTF-8 text. Rename the file."])


def test_a_very_long_name_has_figures(tmp_path: Path, edgeprof: Command) -> None:
    file = save(tmp_path / ("a" * 245 + ".onnx"))
    assert edgeprof("profile", file, "--name", "run", *SIZE, *QUICK).code == 0
    ran = edgeprof("report", "run", "--json")
    assert ran.code == 0
    assert ran.json["figures"]
