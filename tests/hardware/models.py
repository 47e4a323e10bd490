"""The models that every provider is tried with: an encoder, a decoder and an image classifier."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgeprof import EdgeprofError, export
from edgeprof.providers.table import Provider

GPT2_MINI = {
    "n_layer": 4,
    "n_embd": 256,
    "n_head": 4,
    "n_positions": 512,
    "vocab_size": 8000,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
"""As wide and deep as bert-mini."""

SAME_KERNELS = ("int4-hqq", "int4-gptq")
"""Recipes that differ from int4 in their weights alone."""


def precisions(row: Provider) -> list[str]:
    return [recipe for recipe in row.precisions if recipe not in SAME_KERNELS]


def refused(row: Provider) -> str:
    """A precision that the provider does not accept; "" where it accepts all."""
    return "int8" if "int8" not in row.precisions else ""


def exported(row: Provider, folder: Path) -> list[str]:
    """Export them in all that the provider accepts; what failed, in sentences."""
    from tests.tiny_models import checkpoint  # with torch, which the other functions here do without

    decoder = checkpoint(folder / "gpt2-mini", "gpt2", "causal-lm", **GPT2_MINI)
    wanted = [*precisions(row), *filter(None, [refused(row)])]
    problems = []
    for target in ("bert-mini", "vit-tiny", str(decoder)):
        try:
            export(
                [target],
                precision=wanted,
                weights="random" if target != str(decoder) else "auto",
                calibration="random",
                samples=2,
                portable="GroupQueryAttention" in row.lacks,
                keep_going=True,
                out=folder / "models",
            )
        except EdgeprofError as problem:
            problems.append(f"Exporting {Path(target).name}: {problem}")
    return problems


def for_the_cpu_alone(file: Path) -> Path:
    """A graph of one operator that no provider but the CPU's has: it counts words of a text."""
    node = helper.make_node(
        *("TfIdfVectorizer", ["words"], ["counts"]),
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=[0, 1],
        pool_int64s=[1, 2],
    )
    graph = helper.make_graph(
        [node],
        "counts",
        [helper.make_tensor_value_info("words", TensorProto.INT64, [8])],
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, [2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(file))
    return file
