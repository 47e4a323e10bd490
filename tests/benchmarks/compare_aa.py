"""How often `compare` calls equal files different, and how often it finds a slowdown that is there.

A is bert-mini. Rounds are those of `compare`, A and B in one process, with shorter blocks; a comparison takes 8 of them
or more, until the interval is within 3 %, 16 at most. Equal files: each comparison has two new copies of the file, and
rounds of its own. Files with work added: a chain of Tanh behind the hidden states, sized to 1, 2, 5 and 10 % of the
time; 100 comparisons each are drawn from 12 rounds, in random order. Drawn comparisons share rounds, so their shares
are less certain than those of separate ones. "Really" is the ratio over all rounds. Once with nothing beside, and once
each with a neighbour in bursts: one that burns a core, one that streams memory. Asked for: at most 5 % of A and A
called faster or slower; 90 % of slowdowns found.
"""

import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from edgeprof.analysis.compare import Ratio, Together, enough, ratio_of
from edgeprof.api.points import ProfileRequest, jobs_of
from edgeprof.api.targets import one_model, parts_of
from edgeprof.measure.launch import measure_pair
from edgeprof.measure.schedule import Job
from edgeprof.schema import CPU, Goal, PairVisit, StoppingRule
from tests.benchmarks import neighbour
from tests.benchmarks.harness import edgeprof

TITLE = "Comparisons: equal files called different, and slowdowns found"
SLOWDOWNS = (1, 2, 5, 10)
EQUAL, MOST_ROUNDS = 30, 16
DRAWN, ROUNDS, TOKENS = 100, 12, 128

GOAL = Goal(rounds=8, ci=0.03, max_time_s=1e6)
PROBE_NODES, PROBE_TURNS = 2000, 5

Visits = Mapping[int, PairVisit]


def run() -> list[str]:
    shares = " | ".join(f"{percent} % slower: found (really)" for percent in SLOWDOWNS)
    lines = [f"| beside | a round takes | equal: called different | half-width, median | {shares} |"]
    lines += ["|---" * (4 + len(SLOWDOWNS)) + "|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-mini", "--weights", "random", cwd=work)
        plain, *slower = _files(work / "models" / "bert-mini" / "fp32" / "model.onnx", work)
        for kind in neighbour.KINDS:
            with neighbour.beside(kind):
                equal = list(_equal(plain, work / kind))
                found = _found(_visited(_job(plain), list(map(_job, slower))))
            lines.append(f"| {kind} | {' | '.join([*_called(equal), *found])} |")
    return lines


def _job(file: Path) -> Job:
    request = ProfileRequest(
        seq=(TOKENS,),
        batch=(),
        phase="both",
        machine_id="",
        threads=len(os.sched_getaffinity(0)),
        targets=(CPU,),
        compile=False,
        stopping=StoppingRule(min_runs=5, min_time_s=0.1),
        timeout_s=60.0,
        dims={},
        files={},
    )
    (job,) = jobs_of(parts_of(one_model(str(file), Path("models")))[0], request, [])
    return job


def _visit(a: Job, b: Job, number: int) -> PairVisit:
    visit = measure_pair(a, b, number)
    assert visit.outcome.reading, visit.outcome.error
    return visit


def _ratio(visits: Visits) -> Ratio:
    ratio = ratio_of(Together(visits), GOAL)
    assert ratio
    return ratio


# --- equal files ---------------------------------------------------------------------------------------


def _equal(plain: Path, work: Path) -> Iterator[Visits]:
    """Comparisons of two new copies of a file: the rounds of each."""
    for number in range(EQUAL):
        folder = work / str(number)
        folder.mkdir(parents=True)
        a, b = (_job(Path(shutil.copy(plain, folder / f"{name}.onnx"))) for name in "ab")
        visits: dict[int, PairVisit] = {}
        while len(visits) < GOAL.rounds or (len(visits) < MOST_ROUNDS and not enough(Together(visits), GOAL)):
            visits[len(visits)] = _visit(a, b, len(visits))
        shutil.rmtree(folder)
        yield visits


def _called(equal: Sequence[Visits]) -> list[str]:
    ratios = list(map(_ratio, equal))
    different = sum(ratio.verdict != "no difference shown" for ratio in ratios)
    took_s = statistics.median(visit.outcome.took_s for visits in equal for visit in visits.values())
    half = statistics.median(ratio.half_width for ratio in ratios)
    return [f"{took_s:.1f} s", f"{different} of {len(ratios)}", f"{100 * half:.1f} %"]


# --- slower ones ---------------------------------------------------------------------------------------


def _visited(a: Job, others: Sequence[Job]) -> list[Visits]:
    """Of A and each of the others, round by round."""
    visits: list[dict[int, PairVisit]] = [{} for _ in others]
    for number in range(ROUNDS):
        for index in random.Random(number).sample(range(len(others)), len(others)):
            visits[index][number] = _visit(a, others[index], number)
    return list(visits)


def _found(slower: Sequence[Visits]) -> list[str]:
    generator = random.Random(0)
    cells = []
    for visits in slower:
        verdicts = [_drawn(visits, generator).verdict for _ in range(DRAWN)]
        cells.append(f"{100 * verdicts.count('slower') / DRAWN:.0f} % ({_ratio(visits).value:.3f})")
    return cells


def _drawn(visits: Visits, generator: random.Random) -> Ratio:
    """A comparison that met these rounds in another order."""
    order = generator.sample(sorted(visits), len(visits))
    for count in range(GOAL.rounds, len(order) + 1):
        rounds = {number: visits[number] for number in order[:count]}
        if enough(Together(rounds), GOAL):
            break
    return _ratio(rounds)


# --- files ---------------------------------------------------------------------------------------------


def _files(model: Path, work: Path) -> list[Path]:
    """The model in one file, then a file for each slowdown."""
    plain, probe = (_with_work(model, nodes, work / f"{nodes}.onnx") for nodes in (0, PROBE_NODES))
    turns = [(_median_s(plain), _median_s(probe)) for _ in range(PROBE_TURNS)]
    plain_s = min(plain_s for plain_s, _ in turns)
    node_s = statistics.median(probe_s - plain_s for plain_s, probe_s in turns) / PROBE_NODES
    nodes = [max(1, round(percent / 100 * plain_s / node_s)) for percent in SLOWDOWNS]
    return [plain] + [
        _with_work(model, count, work / f"slower{percent}.onnx")
        for percent, count in zip(SLOWDOWNS, nodes, strict=True)
    ]


def _with_work(model: Path, nodes: int, file: Path) -> Path:
    """The model in one file, with a chain of Tanh of a slice of the hidden states as another output.

    The slice is small enough for one thread, and so one node takes the same time wherever it is.
    """
    proto = onnx.load(model)
    graph = proto.graph
    if nodes:
        first = graph.output[0].name
        graph.initializer.extend(
            onnx.numpy_helper.from_array(np.array(values, np.int64), name)
            for name, values in (("work_start", [0]), ("work_end", [16]), ("work_axis", [1]))
        )
        graph.node.append(helper.make_node("Slice", [first, "work_start", "work_end", "work_axis"], ["work_0"]))
        graph.node.extend(helper.make_node("Tanh", [f"work_{n}"], [f"work_{n + 1}"]) for n in range(nodes))
        graph.output.append(helper.make_tensor_value_info(f"work_{nodes}", onnx.TensorProto.FLOAT, None))
    onnx.save(proto, file)
    return file


def _median_s(file: Path) -> float:
    """The time of a run, one session alive at a time."""
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    feeds = {one.name: np.ones((1, TOKENS), np.int64) for one in session.get_inputs()}
    taken = []
    for _ in range(50):
        start = time.perf_counter()
        session.run(None, feeds)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
