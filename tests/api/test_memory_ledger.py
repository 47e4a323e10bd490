"""Memory by parts in real processes: predicted, measured, and taken apart by trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeprof import Run, profile
from edgeprof.analysis.memory_trials import parts
from edgeprof.measure import memory
from edgeprof.schema import WINDOW_BYTES, Point

QUICK: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0.0}
NAMES, PRECISIONS = ("bert-tiny", "gpt2-small"), ("fp32", "int8")
MB = 1_000_000


@pytest.fixture(scope="module")
def run(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An encoder and a decoder with weights beside the .onnx file, and in it."""
    folder = tmp_path_factory.mktemp("ledger")
    targets = []
    for name in NAMES:
        for precision in PRECISIONS:
            beside = models / name / precision / "model.onnx"
            inside = folder / f"{name}-{precision}-inside.onnx"
            onnx.save(onnx.load(beside), inside)
            targets += [str(beside), str(inside)]
    return profile(targets, seq=[4, 50], name="run", out=folder, **QUICK)


def of_files(points: Sequence[Point]) -> dict[tuple[str, str, str], list[Point]]:
    files: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        key = (point.subject.model, str(point.subject.precision), point.load.phase)
        files.setdefault(key, []).append(point)
    return files


def test_the_weights_of_a_file_are_one_number_at_every_length(run: Run) -> None:
    files = of_files(run.points)
    assert len(files) >= 2 * len(NAMES) * len(PRECISIONS)
    for name, points in files.items():
        weights = [point.memory.weights_bytes for point in points if point.memory]
        assert len(weights) == len(points) > 1, name
        assert max(weights) - min(weights) < 0.5 * MB, (name, weights)


def test_peaks_are_as_predicted(run: Run) -> None:
    for point in run.points:
        assert point.memory and point.facts.memory
        assert point.facts.memory.peak_bytes == pytest.approx(point.memory.peak_bytes, rel=0.1), point.key.label


def test_trials_split_the_peak_into_parts_that_add_up(models: Path, tmp_path: Path) -> None:
    path = models / "gpt2-small" / "fp32"
    arguments: dict[str, Any] = {"seq": [32], "phase": "decode", "name": "run", "out": tmp_path, "memory": True}
    tried = profile([str(path)], **arguments, **QUICK)
    (one,) = tried.memory
    assert one.outcome.reading is not None
    split = parts(one.outcome.reading, one.predicted)
    as_it_is = one.outcome.reading.as_it_is
    peak = max(as_it_is.memory_load_peak_bytes, as_it_is.memory_run_peak_bytes)
    assert sum(part.measured_bytes for part in split) == peak
    assert sum(part.predicted_bytes for part in split) == one.predicted.peak_bytes
    assert sum(part.residual_bytes for part in split) == peak - one.predicted.peak_bytes
    packed = next(part for part in split if part.name == "weights in memory")
    assert packed.measured_bytes == pytest.approx(
        packed.predicted_bytes, abs=3 * MB
    )  # the heap of each process keeps a little of its own
    assert tried.memory_trials[0].startswith("gpt2-small fp32, decode at 32 tokens: the peak is ")
    assert len(profile([str(path)], **arguments, **QUICK).memory) == 1  # not tried again


def test_mappings_of_a_file_are_counted_by_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "weights.data"
    file.write_bytes(bytes(8 * MB))
    assert WINDOW_BYTES <= memory.window_bytes(file) <= 8 * MB
    assert memory.mapped([file]) == 0  # closed again


MAPS = """\
7f00-7f10 r--p 00000000 fe:00 12 /a/weights.data
Size: 100 kB
Rss:                  64 kB
7f10-7f20 r-xp 00000000 fe:00 13 /lib/lib.so
Rss:                 900 kB
7f20-7f30 rw-p 00000000 00:00 0
Rss:                  10 kB
7f30-7f40 r--p 00001000 fe:00 12 /a/weights.data
Rss:                   4 kB
"""


def test_pages_of_other_files_and_of_none_do_not_count() -> None:
    assert memory.parse_mapped(MAPS, {"/a/weights.data"}) == 68 * 1024
