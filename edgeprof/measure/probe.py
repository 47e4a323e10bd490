"""Measure the ceilings of this device through onnxruntime: what is measured, in which order, and what comes of it.

Work of one kind is a process; all kinds are visited in turn, several times, so that drift does not look like a
difference between them. Graphs are built here, as the process that measures does not import onnx.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof import store
from edgeprof.errors import EdgeprofError
from edgeprof.measure import memory as process_memory
from edgeprof.measure import probe_graphs
from edgeprof.measure.launch import LATENCY_WORKER, run_worker
from edgeprof.measure.probe_graphs import (
    TINY,
    Specimen,
    activation_product,
    attention,
    chain,
    copy,
    gather,
    mixed,
    nothing,
    patches,
    product,
    quantizing,
    resize,
    transpose,
)
from edgeprof.process import LOCAL, Executor, Progress, call
from edgeprof.schema import (
    FP32,
    WINDOW_BYTES,
    Canaries,
    Reading,
    Request,
    SessionMemory,
    StoppingRule,
    TaskReading,
    Work,
    WorkReading,
    WorkRequest,
    WorkTask,
    WorkTime,
    encode,
)

WORKER = "edgeprof.measure.probe_worker"

ROWS = (1, 4, 16, 64, 256)
WIDTHS = tuple((inner, columns) for inner in (128, 512, 2048) for columns in (128, 512, 2048))
VECTOR = (2048, 8192)
"""A matrix larger than caches: what a product with one row takes is what memory gives."""

STREAMED = (
    (FP32, 512, (2, 8, 16, 32, 64, 128, 240)),
    (FP32, 1024, (2, 60)),
    ("int8", 512, (2,)),
    ("int8", 1024, (2, 230)),
    ("int4", 512, (2,)),
    ("int4", 1024, (2, 380)),
)
"""Width of square matrices, and how many follow one another: the first few stay in caches, the last ones, of 240 MB or
more, come from memory again. Each is of some 1 MB, as those of models: two threads share a smaller one with loss."""
STREAMED_ROWS = (1, 8, 64)

HALF = ((512, 512), (512, 2048))
"""fp16 needs fewer shapes: where the processor has no kernels for it, they are those of fp32 between conversions."""

HEADS, HEAD_SIZE = 12, 64
OTHER_HEADS = ((3, 64), (8, 128))
TOKENS = (16, 64, 256, 1024)
PAST_TOKENS = (16, 128, 512, 2048)
WIDTH, NARROW = 768, 128
LINES = (1, 16, 128, 1024)
NORMS = ("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "Softmax")
CHAINED = (
    *(*NORMS, "SkipSimplifiedLayerNormalization"),
    *("Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Sigmoid", "Tanh", "Relu", "Add", "Mul"),
)
COPIES = (2**4, 2**12, 2**16, 2**20, 2**24)  # elements: next to none, in the caches, and beyond
PATCHES = (224, 16, 192)
RESIZED = ((192, 14, 7), (192, 14, 11), (192, 14, 24))
"""Position embeddings of an image model, made to fit images of other sizes: channels, and places along a side."""
CHAINS = (1, 16, 64, 256)
MIXED = (12, 512)
"""Products in a chain, large enough for several threads, and their width; and small nodes after each."""
SMALL_NODES = (0, 2, 4)

WRITES, WRITE_BYTES = 16, 8 << 20
"""A file as large as the weights of a small model, written in parts as those are."""

ROUNDS = 5
STOPPING = StoppingRule(min_runs=5, min_time_s=0.03, max_time_s=5.0)
FEW_RUNS = StoppingRule(min_runs=10, min_time_s=0.0)
TIMEOUT_S = 120.0
SEED = 0


def specimens() -> dict[str, list[Specimen]]:
    """All that is measured, by kind; a kind shares a process."""
    kinds = {
        f"{precision} products": [
            *(product(precision, rows, *widths) for widths in WIDTHS for rows in ROWS),
            product(precision, 1, *VECTOR),
        ]
        for precision in (FP32, "int8", "int4")
    }
    kinds["fp16 products"] = [product("fp16", rows, *widths) for widths in HALF for rows in (ROWS[0], ROWS[-1])]
    kinds["streamed products"] = list(_streamed())
    kinds["attention"] = list(_attention())
    kinds["norms and activations"] = [
        *(chain(operator, rows, WIDTH) for operator in CHAINED for rows in LINES),
        *(chain(operator, rows, NARROW) for operator in NORMS for rows in LINES),
        *(chain(operator, 1, TINY) for operator in CHAINED),
    ]
    kinds["memory"] = [*(gather(rows, WIDTH) for rows in LINES), *map(copy, COPIES)]
    kinds["memory"] += [move(rows) for rows in LINES for move in (_quantized, _transposed)]
    kinds["memory"] += [gather(1, TINY), quantizing(1, TINY), transpose(1, 1, TINY)]
    kinds["memory"] += [resize(*sizes) for sizes in RESIZED]
    kinds["overhead"] = [*map(nothing, CHAINS), *(mixed(*MIXED, small) for small in SMALL_NODES)]
    return kinds


def _streamed() -> Iterator[Specimen]:
    """All chains with one row, the shortest and the longest with more."""
    for precision, width, chains in STREAMED:
        for rows in STREAMED_ROWS:
            chosen = chains if rows == STREAMED_ROWS[0] else dict.fromkeys((chains[0], chains[-1]))
            yield from (product(precision, rows, width, width, nodes) for nodes in chosen)


def _attention() -> Iterator[Specimen]:
    """Every operator over lengths, then with other heads at the ends of the range; and attention in parts."""
    for operator in probe_graphs.ATTENTIONS:
        for heads, size, lengths in _heads(TOKENS):
            yield from (attention(operator, tokens, 0, heads, size) for tokens in lengths)
    for operator in probe_graphs.WITH_PAST:
        for heads, size, lengths in _heads(PAST_TOKENS):
            yield from (attention(operator, 1, past, heads, size) for past in lengths)
    for tokens in TOKENS[:-1]:
        yield activation_product(HEADS, tokens, HEAD_SIZE, tokens)
        yield activation_product(HEADS, tokens, tokens, HEAD_SIZE)
    yield patches(*PATCHES)


def _heads(lengths: tuple[int, ...]) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Number and size of heads, and the lengths to measure them at."""
    yield HEADS, HEAD_SIZE, lengths
    yield from ((heads, size, lengths[:: max(len(lengths) - 2, 1)]) for heads, size in OTHER_HEADS)


def _quantized(rows: int) -> Specimen:
    return quantizing(rows, WIDTH)


def _transposed(rows: int) -> Specimen:
    return transpose(rows, HEADS, HEAD_SIZE)


def measure(
    threads: int, progress: Progress, executor: Executor = LOCAL
) -> tuple[tuple[WorkTime, ...], tuple[Canaries, ...]]:
    """Visit all work, `ROUNDS` times, between readings of the canaries; a process that dies costs its kind in that
    round."""
    kinds, dice = specimens(), random.Random(SEED)
    seen: list[tuple[Work, TaskReading]] = []
    canaries: list[Canaries] = []
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        progress("building graphs", None)
        tasks = {kind: _tasks(chosen, Path(folder)) for kind, chosen in kinds.items()}
        visits = [kind for _ in range(ROUNDS) for kind in dice.sample(sorted(kinds), len(kinds))]
        for index, kind in enumerate(visits):
            progress(f"round {index // len(kinds) + 1} of {ROUNDS}: {kind}", index / len(visits))
            works = [specimen.work for specimen in kinds[kind]]
            request = WorkRequest(tasks=tasks[kind], threads=threads, stopping=STOPPING)
            try:
                reading = call(WORKER, request, WorkReading, timeout_s=TIMEOUT_S, executor=executor)
            except EdgeprofError as problem:
                seen += [(work, TaskReading(error=problem.what)) for work in works]
                continue
            seen += zip(works, reading.tasks, strict=True)
            canaries += reading.canaries
    order = [specimen.work for chosen in kinds.values() for specimen in chosen]
    return tuple(sorted(times(seen), key=lambda time: order.index(time.work))), tuple(canaries)


def times(seen: Sequence[tuple[Work, TaskReading]]) -> Iterator[WorkTime]:
    """The visits of each work; without one, the newest error."""
    visits: dict[bytes, list[tuple[Work, TaskReading]]] = {}
    for work, reading in seen:
        visits.setdefault(encode(work), []).append((work, reading))
    for same in visits.values():
        latencies = [reading.latencies_s for _, reading in same if reading.latencies_s]
        yield WorkTime(
            work=same[0][0],
            best_s=tuple(_rounded(_first_decile(each)) for each in latencies),
            medians_s=tuple(_rounded(statistics.median(each)) for each in latencies),
            error="" if latencies else same[-1][1].error,
        )


def memory(threads: int, executor: Executor = LOCAL) -> tuple[int, list[SessionMemory]]:
    """Resident bytes of a process with the runtime loaded, and what sessions take beyond.

    Raises:
        EdgeprofError: a session of a few small nodes does not run.
    """
    widths = WIDTHS[-1]
    chosen = [nothing(CHAINS[1]), *(product(precision, 1, *widths) for precision in (FP32, "int8", "int4"))]
    taken: list[SessionMemory] = []
    imports = 0
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        for specimen, task in zip(chosen, _tasks(chosen, Path(folder)), strict=True):
            request = Request(
                model=task.model, threads=threads, inputs=task.inputs, stopping=StoppingRule(min_time_s=0)
            )
            outcome = run_worker(LATENCY_WORKER, request, Reading, TIMEOUT_S, executor)
            reading = outcome.reading
            if reading is None and not taken:
                raise EdgeprofError(outcome.error)
            if reading is not None:
                imports = imports or reading.memory_imports_bytes
                taken.append(_session(specimen.work, Path(task.model), reading))
    return imports, taken


def window_bytes() -> int:
    """Bytes of a mapped file that come into memory when one is read, of a file that was just written, as models are.

    Without room for such a file it is what most systems map.
    """
    folder = store.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="edgeprof-", dir=folder) as file:
            for _ in range(WRITES):
                file.write(bytes(WRITE_BYTES))
            file.flush()
            return process_memory.window_bytes(Path(file.name))
    except OSError:
        return WINDOW_BYTES


def _session(work: Work, file: Path, reading: Reading) -> SessionMemory:
    return SessionMemory(
        precision="" if work.operator == "chain" else work.precision,
        file_bytes=file.stat().st_size,
        loaded_bytes=max(reading.memory_loaded_bytes - reading.memory_imports_bytes, 0),
        run_bytes=max(reading.memory_run_peak_bytes - reading.memory_loaded_bytes, 0),
    )


def _tasks(chosen: Sequence[Specimen], folder: Path) -> tuple[WorkTask, ...]:
    """Write the graphs, each once, and return what the process is to do."""
    tasks = []
    for specimen in chosen:
        file = folder / f"{specimen.graph}.onnx"
        if not file.exists():
            file.write_bytes(probe_graphs.build(specimen.work).SerializeToString())
        tasks.append(WorkTask(model=str(file), inputs=specimen.inputs, shared_tokens=specimen.shared_tokens))
    return tuple(tasks)


def _first_decile(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 10]


def _rounded(seconds: float) -> float:
    """Four digits, which is more than a time bears: the file stays small."""
    return float(f"{seconds:.3e}")
