"""How often `compare` calls equal files different, and how often it finds a slowdown that is there.

A is bert-mini. It is compared with copies of itself, and with files with work added: a chain of Tanh behind the hidden
states, sized to 1, 2, 5 and 10 % of its time. Rounds are those of `compare`, A and B in one process, with shorter
blocks. 100 comparisons each are drawn from them, in random order, by the rules of `compare` (8 rounds or more, until
the interval is within 3 %, 16 at most). Drawn comparisons share rounds, so the shares are less certain than those of
100 separate ones; of equal files, which is A is drawn for each round. "Really" is the ratio over all rounds. Once with
nothing beside, and once each with a neighbour in bursts: one that burns a core, one that streams memory. Asked for: at
most 5 % of A and A called faster or slower; 90 % of slowdowns found.
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from msgspec.structs import replace
from onnx import helper

from edgeprof.analysis.compare import Together, enough, ratio_of
from edgeprof.api.points import ProfileRequest, jobs_of
from edgeprof.api.targets import one_model, parts_of
from edgeprof.measure.launch import measure_pair
from edgeprof.measure.schedule import Job
from edgeprof.schema import CPU, Goal, PairVisit, StoppingRule
from tests.benchmarks import neighbour
from tests.benchmarks.harness import edgeprof

TITLE = "Comparisons: equal files called different, and slowdowns found"
COPIES, SLOWDOWNS = 3, (1, 2, 5, 10)
COMPARISONS, MOST_ROUNDS, ROUNDS, TOKENS = 100, 16, 16, 128

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
        a, *others = map(_job, _files(work / "models" / "bert-mini" / "fp32" / "model.onnx", work))
        for kind in neighbour.KINDS:
            with neighbour.beside(kind):
                visits = _visited(a, others)
            lines.append(f"| {kind} | {' | '.join(_row(visits[: COPIES - 1], visits[COPIES - 1 :]))} |")
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


def _visited(a: Job, others: Sequence[Job]) -> list[Visits]:
    """Of A and each of the others, round by round."""
    visits: list[dict[int, PairVisit]] = [{} for _ in others]
    for number in range(ROUNDS):
        for index in random.Random(number).sample(range(len(others)), len(others)):
            visit = measure_pair(a, others[index], number)
            assert visit.outcome.reading, visit.outcome.error
            visits[index][number] = visit
    return list(visits)


# --- drawn comparisons ---------------------------------------------------------------------------------


def _row(equal: Sequence[Visits], slower: Sequence[Visits]) -> list[str]:
    generator = random.Random(0)
    drawn = [_drawn(_turned(generator.choice(equal), generator), generator) for _ in range(COMPARISONS)]
    different = sum(verdict != "no difference shown" for verdict, _ in drawn)
    took_s = statistics.median(visit.outcome.took_s for visits in equal for visit in visits.values())
    cells = [f"{took_s:.1f} s", _share(different), f"{100 * statistics.median(half for _, half in drawn):.1f} %"]
    for visits in slower:
        verdicts = [_drawn(visits, generator)[0] for _ in range(COMPARISONS)]
        really = ratio_of(Together(visits), GOAL)
        cells.append(f"{_share(verdicts.count('slower'))} ({really.value if really else 0:.3f})")
    return cells


def _turned(visits: Visits, generator: random.Random) -> Visits:
    """A and B, which are equal, change places in about half of the rounds."""
    return {number: _swapped(visit) if generator.random() < 0.5 else visit for number, visit in visits.items()}


def _swapped(visit: PairVisit) -> PairVisit:
    reading = visit.outcome.reading
    assert reading
    blocks = tuple(replace(block, a_s=block.b_s, b_s=block.a_s) for block in reading.blocks)
    return replace(visit, outcome=replace(visit.outcome, reading=replace(reading, blocks=blocks)))


def _share(count: int) -> str:
    return f"{100 * count / COMPARISONS:.0f} %"


def _drawn(visits: Visits, generator: random.Random) -> tuple[str, float]:
    """The verdict of one comparison, and the half-width of its interval."""
    order = generator.sample(sorted(visits), min(MOST_ROUNDS, len(visits)))
    for count in range(GOAL.rounds, len(order) + 1):
        rounds = Together({number: visits[number] for number in order[:count]})
        if enough(rounds, GOAL):
            break
    ratio = ratio_of(rounds, GOAL)
    assert ratio
    return ratio.verdict, ratio.half_width


# --- files ---------------------------------------------------------------------------------------------


def _files(model: Path, work: Path) -> list[Path]:
    """The copies, then a file for each slowdown."""
    plain, probe = (_with_work(model, nodes, work / f"{nodes}.onnx") for nodes in (0, PROBE_NODES))
    turns = [(_median_s(plain), _median_s(probe)) for _ in range(PROBE_TURNS)]
    plain_s = min(plain_s for plain_s, _ in turns)
    node_s = statistics.median(probe_s - plain_s for plain_s, probe_s in turns) / PROBE_NODES
    copies = [_with_work(model, 0, work / f"copy{number}.onnx") for number in range(COPIES)]
    nodes = [max(1, round(percent / 100 * plain_s / node_s)) for percent in SLOWDOWNS]
    return copies + [
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
