"""Whole-process exports of a checkpoint: edgeprof's command, and those of its peers, each in its own environment."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.harness import Cost, edgeprof, run
from tests.benchmarks.peer_environments import GENAI, MOBIUS, OPTIMUM


@dataclass(frozen=True)
class Exporter:
    """`export(checkpoint, target)` writes model.onnx, by a whole process."""

    name: str
    export: Callable[[Path, Path], Cost]

    def __call__(self, checkpoint: Path, target: Path) -> Cost:
        """Raises Failed: the command failed, or could not be installed."""
        target.mkdir(parents=True)
        return self.export(checkpoint, target)


def model_of(target: Path) -> Path:
    """The graph that an export wrote: of edgeprof, in the folder of its precision."""
    return next(iter(sorted(target.rglob("model.onnx"))))


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
    return run(OPTIMUM.command("optimum-cli"), "export", "onnx", "--model", older, *_task(older), target, cwd=target)


def _task(checkpoint: Path) -> tuple[str, ...]:
    kind = json.loads((checkpoint / "config.json").read_text())["architectures"][0]
    tasks = {"ForCausalLM": "text-generation-with-past", "LMHeadModel": "text-generation-with-past"}
    ends = [task for end, task in {**tasks, "ForImageClassification": "image-classification"}.items() if kind.endswith(end)]
    return ("--task", ends[0] if ends else "feature-extraction")


def _for_older_transformers(checkpoint: Path) -> Path:
    """A folder with the same weights, and the settings as transformers below 5 names them."""
    older = checkpoint.with_name(f"{checkpoint.name}-transformers-4")
    if older.exists():
        return older
    older.mkdir()
    for file in checkpoint.iterdir():
        if file.suffix != ".json" or file.name == "tokenizer.json":
            (older / file.name).symlink_to(file)
    config = json.loads((checkpoint / "config.json").read_text())
    rope = config.get("rope_parameters")
    if rope and "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    (older / "config.json").write_text(json.dumps(config))
    if (checkpoint / "tokenizer_config.json").exists():
        words = json.loads((checkpoint / "tokenizer_config.json").read_text())
        (older / "tokenizer_config.json").write_text(json.dumps({**words, "tokenizer_class": "PreTrainedTokenizerFast"}))
    return older


EDGEPROF = Exporter("edgeprof", _edgeprof())
EDGEPROF_INT8 = Exporter("edgeprof int8", _edgeprof("--precision", "int8"))
EDGEPROF_INT4 = Exporter("edgeprof int4", _edgeprof("--precision", "int4"))
GENAI_BUILDER = Exporter("onnxruntime-genai builder", _genai("fp32"))
GENAI_INT4 = Exporter("onnxruntime-genai builder int4", _genai("int4"))
MOBIUS_ONNX = Exporter("mobius-onnx", _mobius)
OPTIMUM_ONNX = Exporter("optimum-onnx", _optimum)
