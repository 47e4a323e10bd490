"""Whole-process exports of a checkpoint: edgeprof's command, and those of its peers, each in its own environment."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeprof.measure import machine
from tests.benchmarks.harness import HERE, Cost, edgeprof, run
from tests.benchmarks.peer_environments import GENAI, MOBIUS, OPTIMUM

TASKS = {
    "ForCausalLM": "text-generation-with-past",
    "LMHeadModel": "text-generation-with-past",
    "ForImageClassification": "image-classification",
    "Model": "feature-extraction",
}
"""What optimum-onnx calls the task of a model, by the end of its class's name."""


@dataclass(frozen=True)
class Exporter:
    """`export(checkpoint, target)` writes model.onnx, by a whole process."""

    name: str
    export: Callable[[Path, Path], Cost]

    def __call__(self, checkpoint: Path, target: Path) -> Cost:
        """Raises Failed: the command failed, or could not be installed."""
        target.mkdir(parents=True)
        return self.export(checkpoint, target)


def _edgeprof(*options: str) -> Callable[[Path, Path], Cost]:
    def export(checkpoint: Path, target: Path) -> Cost:
        return edgeprof("export", checkpoint, "--name", "model", "--out", target, *options, cwd=target)

    return export


def _genai(precision: str) -> Callable[[Path, Path], Cost]:
    def export(checkpoint: Path, target: Path) -> Cost:
        where = ("-i", checkpoint, "-o", target, "-c", target / "cache")
        builder = ("-m", "onnxruntime_genai.models.builder", *where, "-p", precision, "-e", "cpu")
        return run(GENAI.command("python"), *builder, cwd=target)

    return export


def _mobius(checkpoint: Path, target: Path) -> Cost:
    return run(MOBIUS.command("mobius"), "build", "--config", checkpoint, "--ep", "cpu", target, cwd=target)


def _optimum(checkpoint: Path, target: Path) -> Cost:
    """Its transformers is older, and reads a tokenizer's class and some settings by other names."""
    older = _for_older_transformers(checkpoint)
    target.mkdir(exist_ok=True)
    return run(OPTIMUM.command("optimum-cli"), "export", "onnx", "--model", older, *_task(older), target, cwd=target)


def _optimum_int8(checkpoint: Path, target: Path) -> Cost:
    """Its fp32 export, and dynamic int8 by its settings for this CPU."""
    _optimum(checkpoint, target / "fp32")
    quantizer = (HERE / "peer_optimum.py", kind_of_cpu(), target / "fp32", target / "int8")
    return run(OPTIMUM.command("python"), *quantizer, cwd=target)


def kind_of_cpu() -> str:
    """As optimum-onnx names the settings for it."""
    features = machine.describe().cpu_features
    return "avx512_vnni" if "avx512_vnni" in features else "avx512" if "avx512f" in features else "avx2"


def _task(checkpoint: Path) -> tuple[str, ...]:
    kind = json.loads((checkpoint / "config.json").read_text())["architectures"][0]
    return ("--task", next(task for end, task in TASKS.items() if kind.endswith(end)))


def _for_older_transformers(checkpoint: Path) -> Path:
    """A folder with the same weights, and the settings as transformers below 5 names them."""
    older = checkpoint.with_name(f"{checkpoint.name}-transformers-4")
    if older.exists():
        return older
    older.mkdir()
    for file in checkpoint.iterdir():
        if file.name not in ("config.json", "tokenizer_config.json"):
            (older / file.name).symlink_to(file)
    config = json.loads((checkpoint / "config.json").read_text())
    rope = config.get("rope_parameters")
    if rope and "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    (older / "config.json").write_text(json.dumps(config))
    if (checkpoint / "tokenizer_config.json").exists():
        words = json.loads((checkpoint / "tokenizer_config.json").read_text())
        words["tokenizer_class"] = "PreTrainedTokenizerFast"
        (older / "tokenizer_config.json").write_text(json.dumps(words))
    return older


EDGEPROF = Exporter("edgeprof", _edgeprof())
EDGEPROF_INT8 = Exporter("edgeprof int8", _edgeprof("--precision", "fp32,int8", "--samples", "4"))
EDGEPROF_RECIPES = Exporter(
    "edgeprof recipes", _edgeprof("--precision", "fp32,int4,int8", "--samples", "4", "--keep-going")
)
GENAI_BUILDER = Exporter("genai fp32", _genai("fp32"))
GENAI_INT4 = Exporter("genai int4", _genai("int4"))
MOBIUS_ONNX = Exporter("mobius-onnx", _mobius)
OPTIMUM_ONNX = Exporter("optimum-onnx", _optimum)
OPTIMUM_INT8 = Exporter("optimum-onnx int8", _optimum_int8)
