"""Nodes belong to modules by the flow of data; amounts are computed by hand."""

from builders import layer_graph

from edgeprof import counting

N = 5
SHAPES = {"ids": (1, N)}
WORKS = {work.name: work for work in counting.by_node(layer_graph.model(), SHAPES)}


def test_every_node_has_its_module() -> None:
    found: dict[str, list[str]] = {}
    for work in WORKS.values():
        found.setdefault(work.module, []).append(work.name)
    assert {module: sorted(names) for module, names in found.items()} == {
        module: sorted(names) for module, names in layer_graph.MODULES.items()
    }


def test_macs_add_up_to_those_of_the_graph() -> None:
    assert sum(work.macs for work in WORKS.values()) == counting.count(layer_graph.model(), SHAPES).macs
    assert WORKS["up"].macs == N * 8 * 32 and WORKS["s"].macs == N * N * 8


def test_bytes_are_those_that_a_node_reads_and_writes() -> None:
    up = WORKS["up"]
    assert (up.weights_bytes, up.activation_bytes) == (4 * 8 * 32, 4 * N * (8 + 32))
    lookup = WORKS["n0"]
    assert (lookup.weights_bytes, lookup.activation_bytes) == (4 * N * 8, 8 * N + 4 * N * 8), "rows, not the table"
    assert WORKS["q4"].activation_bytes == 0, "a view"
    assert WORKS["r"].activation_bytes == 3 * 4 * N * 8
