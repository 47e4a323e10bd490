"""What people quantize with today, run on edgeprof's fp32 file, each in a process of its own.

As they come, they turn the `Attention` operator into one that onnxruntime refuses to load. That is a result; where it
happens, they are run again without that operator, which is the best a user gets from them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeprof.schema import Artifact, Case
from tests.benchmarks.exporters import kind_of_cpu
from tests.benchmarks.harness import HERE, Cost, Failed, python, run
from tests.benchmarks.peer_environments import OPTIMUM
from tests.benchmarks.timing import shapes, time_lengths


@dataclass(frozen=True)
class Peer:
    """`quantize(source, target, plain, work)` writes the file `target`; `plain` leaves Attention operators alone."""

    name: str
    recipes: tuple[str, ...]  # edgeprof's, to compare it with
    quantize: Callable[[Artifact, Path, bool, Path], Cost]


@dataclass(frozen=True)
class Outcome:
    """`file` is None where nothing that runs came out; `told` says what happened, in words."""

    peer: str
    file: Path | None
    told: str


def outcome(peer: Peer, source: Artifact, case: Case, work: Path) -> Outcome:
    """Quantize `source`; what comes out has to run at `case`."""
    summary: list[str] = []
    for plain in (False, True):
        target = work / "peers" / source.name / f"{peer.name}{'-plain' if plain else ''}" / "model.onnx"
        target.parent.mkdir(parents=True)
        how = "without Attention" if plain else "as it comes"
        try:
            cost = peer.quantize(source, target, plain, work)
            time_lengths(target, shapes(target, source.variant, [case]), work)
        except Failed as problem:
            summary.append(f"{how}: fails, {_reason(problem)}")
            continue
        summary.append(f"{how}: runs, made in {cost.wall_s:.1f} s")
        return Outcome(peer.name, target, "; ".join(summary))
    return Outcome(peer.name, None, "; ".join(summary))


def _reason(problem: Failed) -> str:
    """What onnxruntime says of a file, up to the types of a node's values."""
    return problem.last_line.rpartition(".onnx: ")[2].partition(" : (")[0][:160]


def _dynamic(source: Artifact, target: Path, plain: bool, work: Path) -> Cost:
    how = "dynamic-no-attention" if plain else "dynamic"
    return python(HERE / "peer_onnxruntime.py", how, source.location, target, cwd=work)


def _matmul_nbits(source: Artifact, target: Path, _plain: bool, work: Path) -> Cost:
    return python(HERE / "peer_onnxruntime.py", "matmul-nbits", source.location, target, cwd=work)


def _matmul_nbits_as_int4(source: Artifact, target: Path, _plain: bool, work: Path) -> Cost:
    return python(HERE / "peer_onnxruntime.py", "matmul-nbits-as-int4", source.location, target, cwd=work)


def _optimum(source: Artifact, target: Path, plain: bool, work: Path) -> Cost:
    from onnxruntime.quantization.registry import IntegerOpsRegistry

    interpreter = OPTIMUM.command("python")
    assert source.variant is not None
    folder = source.folder
    (folder / "config.json").write_text(json.dumps({"model_type": source.variant.family}))
    operators = [name for name in IntegerOpsRegistry if name != "Attention"] if plain else []
    return run(interpreter, HERE / "peer_optimum.py", kind_of_cpu(), folder, target.parent, *operators, cwd=work)


PEERS = (
    Peer("quantize_dynamic", ("int8", "int8-static"), _dynamic),
    Peer("optimum-onnx", ("int8", "int8-static"), _optimum),
    Peer("MatMulNBitsQuantizer", ("int4", "int4-block128-asymmetric"), _matmul_nbits),
    Peer("MatMulNBitsQuantizer (as int4)", ("int4",), _matmul_nbits_as_int4),
)
