"""What people quantize with today, run on edgeprof's fp32 file, each in a process of its own.

As they come, they turn the `Attention` operator into one that onnxruntime refuses to load. That is a result; where it
happens, they are run again without that operator, which is the best a user gets from them.
"""

import functools
import importlib.metadata
import json
import os
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeprof.measure import machine
from edgeprof.schema import Artifact, Case
from tests.benchmarks.harness import HERE, Cost, Failed, python, run
from tests.benchmarks.timing import shapes, time_lengths

VERSIONS = """
from importlib.metadata import version
print("optimum-onnx", version("optimum-onnx"), "with transformers", version("transformers"))
"""
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "edgeprof-bench"


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

    interpreter, summary = optimum_here()
    if interpreter is None:
        raise Failed(summary)
    assert source.variant is not None
    folder = source.folder
    (folder / "config.json").write_text(json.dumps({"model_type": source.variant.family}))
    features = machine.describe().cpu_features
    cpu = "avx512_vnni" if "avx512_vnni" in features else "avx512" if "avx512f" in features else "avx2"
    operators = [name for name in IntegerOpsRegistry if name != "Attention"] if plain else []
    return run(interpreter, HERE / "peer_optimum.py", cpu, folder, target.parent, *operators, cwd=work)


@functools.cache
def optimum_here() -> tuple[Path | None, str]:
    """The interpreter of an environment with optimum-onnx and the versions in it, or why there is none.

    It is made once. optimum-onnx 0.1 wants transformers below 5, so it cannot share an environment with edgeprof;
    torch, onnx and onnxruntime are those of this one. The version of torch is named to the letter ("2.13.0+cpu"), so
    that no CUDA build is fetched in its place.
    """
    home = CACHE / "optimum-onnx"
    interpreter = home / "bin" / "python"
    try:
        if not (home / "installed").exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            venv.create(home, clear=True, with_pip=True)
            same = [f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime")]
            run(interpreter, "-m", "pip", "install", "--quiet", *same, "optimum-onnx[onnxruntime]", cwd=CACHE)
            (home / "installed").touch()
        return interpreter, run(interpreter, "-c", VERSIONS, cwd=CACHE).output.strip()
    except Failed as problem:
        return None, f"could not be installed: {problem.last_line}"


PEERS = (
    Peer("quantize_dynamic", ("int8", "int8-static"), _dynamic),
    Peer("optimum-onnx", ("int8", "int8-static"), _optimum),
    Peer("MatMulNBitsQuantizer", ("int4", "int4-block128-asymmetric"), _matmul_nbits),
    Peer("MatMulNBitsQuantizer (as int4)", ("int4",), _matmul_nbits_as_int4),
)
