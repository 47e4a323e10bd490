"""From a checkpoint folder to a file: weights that fit, weights that do not, code that is never run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from hostile_files import CONFIG as HOSTILE
from onnx_files import run

from edgeprof.errors import CheckpointError
from edgeprof.families import checkpoint, family_of
from edgeprof.process import silent
from edgeprof.schema import Case
from edgeprof.stages.export import stage as export
from edgeprof.stages.weights import Weights


def exported(folder: Path, out: Path, **config: Any) -> export.Exported:
    """Export a checkpoint after changing its config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    variant, where = checkpoint.read(folder, "small")
    request = export.ExportRequest(
        variant=variant, weights=Weights(folder=str(where)), logits="all", opset=export.OPSET, folder=str(out)
    )
    return export.run(request, silent)


def test_weights_of_every_shard_are_in_the_file(tmp_path: Path) -> None:
    whole = tiny_models.checkpoint(tmp_path / "whole", "bert", "base")
    shards = tiny_models.checkpoint(tmp_path / "shards", "bert", "base", shard="20KB")
    assert len(checkpoint.weight_files(shards)) > 2
    variant, _ = checkpoint.read(shards, "small")
    feeds = family_of(variant).feeds(variant, Case(batch=2, tokens=6), np.random.default_rng(0))
    results = []
    for folder in (whole, shards):
        exported(folder, folder)
        results.append(run(folder / "model.onnx", feeds)["last_hidden_state"])
    np.testing.assert_array_equal(*results)


def test_half_precision_weights_are_exported_in_fp32(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_models.checkpoint(tmp_path / "output", "gpt2", "causal-lm")
    file = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    built = exported(folder, tmp_path, dtype="float16")
    assert {spec.dtype for spec in built.graphs[0].outputs} == {"float32"}
    assert built.graphs[0].count.weights_bytes >= 4 * built.params


def test_random_weights_of_a_checkpoint_need_its_config_only(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "output", "vit", "image-classification")
    variant, _ = checkpoint.read(folder, "small")
    model = export.build(variant, Weights())
    assert sum(parameter.numel() for parameter in model.parameters()) == family_of(variant).params(variant)


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("bert", {"hidden_size": 64}, r"Tensor \S+ has shape \(\S+ ?\S*\) in \S+, but config\.json requires \(.*64"),
        ("gpt2", {"vocab_size": 99}, r"Tensor \S*wte\.weight has shape \(60, 32\) in \S+, but .* requires \(99, 32\)"),
        ("bert", {"num_hidden_layers": 3}, r"Tensor \S*layer\.2\.\S+, which config\.json requires, is not in"),
        ("gpt2", {"n_layer": 1}, r"Tensor \S*h\.1\.\S+ of \S+ has no place in the model that config\.json describes"),
        ("vit", {"num_hidden_layers": 1}, r"Tensor \S*\.1\.\S+ of \S+ has no place"),
        ("vit", {"patch_size": 4}, r"Tensor \S+ has shape .* but config\.json requires"),
    ],
)
def test_a_config_that_disagrees_with_its_weights_names_the_tensor(
    family: str, config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    task = {"gpt2": "causal-lm", "bert": "base", "vit": "image-classification"}[family]
    folder = tiny_models.checkpoint(tmp_path / "output", family, task)
    with pytest.raises(CheckpointError, match=message):
        exported(folder, tmp_path, **config)


def test_the_head_of_another_task_may_be_left_out(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "output", "bert", "masked-lm")
    built = exported(folder, tmp_path, architectures=["BertModel"])
    assert [spec.name for spec in built.graphs[0].outputs] == ["last_hidden_state"]


def test_weights_that_are_cut_off_are_one_sentence(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "output", "bert", "base")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"cannot be loaded: .*\. Download it again"):
        exported(folder, tmp_path)


def test_a_model_of_fewer_positions_than_a_case_has_is_verified_at_the_others(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "output", "bert", "base", max_position_embeddings=16)
    exported(folder, tmp_path)
    with np.load(tmp_path / "reference.npz") as archive:
        assert {key.split("/")[0] for key in archive.files} == {"schema_version", "b1-t1-p0", "b3-t7-p0"}


def test_code_that_a_checkpoint_brings_is_never_run(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "output", "bert", "base")
    trace = tmp_path / "was-run"
    code = f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass Model: pass\nclass Config: pass\n"
    (folder / "modeling_mine.py").write_text(code)
    names = {"AutoModel": "modeling_mine.Model", "AutoConfig": "modeling_mine.Config"}
    exported(folder, tmp_path, auto_map=names, trust_remote_code=True)
    assert (tmp_path / "model.onnx").exists()
    assert not trace.exists()


@pytest.mark.parametrize(("family", "task"), [("gpt2", "causal-lm"), ("bert", "base"), ("vit", "image-classification")])
def test_a_checkpoint_cannot_choose_what_is_loaded(
    family: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub answers nobody, and neither kernels, quantizers, adapters nor generation settings are asked for."""
    import socket

    import torch
    from transformers.integrations import hub_kernels

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network or the kernels loader was reached")

    folder = tiny_models.checkpoint(tmp_path / "output", family, task)
    variant, _ = checkpoint.read(folder, "small")
    expected = export.build(variant, Weights(folder=str(folder)))
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **HOSTILE}))
    for name, content in BESIDE.items():
        (folder / name).write_text(json.dumps(content))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(hub_kernels, "load_and_register_attn_kernel", refused)
    monkeypatch.setattr(hub_kernels, "lazy_load_kernel", refused)
    built = export.build(checkpoint.read(folder, "small")[0], Weights(folder=str(folder)))
    assert built.config._attn_implementation == "sdpa"
    assert not hasattr(built.config, "quantization_config")
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, built.state_dict()[name]), name


BESIDE: dict[str, Any] = {
    "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "owner/name"},
    "generation_config.json": {"custom_generate": "owner/name", "max_length": "many"},
    "preprocessor_config.json": {"auto_map": {"AutoImageProcessor": "owner/name--code.Processor"}},
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["owner/name--code.Tokenizer", None]}},
    "processor_config.json": {"processor_class": "owner/name"},
}
"""Files in which `transformers` follows names."""


def test_weights_of_integers_are_named_as_quantized(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tiny_models.checkpoint(tmp_path / "output", "bert", "base")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("query.weight"))
    save_file({**tensors, name: tensors[name].to(torch.int8)}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"Tensor {name} of \S+ is stored as int8: the checkpoint is quantized"):
        exported(folder, tmp_path)
