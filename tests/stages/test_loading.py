"""From a checkpoint folder to a module: every head, every dtype, and nothing that a folder names is run or fetched."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hostile_files import CONFIG as HOSTILE
from local_hub import serving

from edgeprof.errors import CheckpointError
from edgeprof.families import checkpoint
from edgeprof.schema import Architecture
from edgeprof.stages.export.loading import load
from edgeprof.stages.weights import Weights, in_folder

LLAMA: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
BERT: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
VIT = {**BERT, "image_size": 32, "patch_size": 8}
SPEECH = {
    **BERT,
    "conv_dim": [16, 16],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
T5 = {"vocab_size": 60, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
TOWERS = {
    "text_config": {**BERT, "eos_token_id": 59, "bos_token_id": 58},
    "vision_config": {key: value for key, value in VIT.items() if key != "vocab_size"},
    "projection_dim": 16,
}


def made(folder: Path, class_name: str, **config: Any) -> Any:
    """A model with perturbed weights, saved as `save_pretrained` does."""
    import torch
    import transformers

    kind = getattr(transformers, class_name)
    torch.manual_seed(0)
    model = kind(kind.config_class(**config))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(folder)
    return model.eval()


def loaded(folder: Path, **changes: Any) -> Any:
    """What edgeprof makes of a folder, after changes of its config.json."""
    configure(folder, **changes)
    return load(checkpoint.architecture(folder), in_folder(folder, "made"))


def configure(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def assert_same_weights(model: Any, expected: Any) -> None:
    import torch

    weights = dict(model.named_parameters())
    assert set(weights) == {name for name, _ in expected.named_parameters()}
    for name, tensor in expected.named_parameters():
        assert torch.equal(weights[name], tensor.float()), name
    assert not model.training
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


# --- classes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("BertForMultipleChoice", BERT),
        ("RobertaForTokenClassification", {**BERT, "id2label": {"0": "O", "1": "B-LOC/ORG", "2": "I"}}),
        ("LlamaForSequenceClassification", {**LLAMA, "num_labels": 1}),
        ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True}),
        ("T5ForConditionalGeneration", T5),
        ("CLIPModel", TOWERS),
        ("Wav2Vec2ForCTC", SPEECH),
        ("DeiTForImageClassification", {**VIT, "num_labels": 5}),
    ],
)
def test_every_head_is_loaded_as_it_was_saved(class_name: str, config: dict[str, Any], tmp_path: Path) -> None:
    expected = made(tmp_path, class_name, **config)
    model = loaded(tmp_path)
    assert type(model).__name__ == class_name
    assert_same_weights(model, expected)


def test_a_config_without_architectures_is_the_body(tmp_path: Path) -> None:
    made(tmp_path, "LlamaModel", **LLAMA)
    assert type(loaded(tmp_path, architectures=None)).__name__ == "LlamaModel"


def test_the_head_of_another_task_may_be_left_over(tmp_path: Path) -> None:
    """Here the head of masked tokens; and the body has a pooler only where its weights are."""
    made(tmp_path, "BertForMaskedLM", **BERT)
    model = loaded(tmp_path, architectures=["BertModel"])
    assert model.pooler is None


def test_a_model_without_a_padding_token_classifies_by_the_last_one(tmp_path: Path) -> None:
    import torch

    expected = made(tmp_path, "LlamaForSequenceClassification", **LLAMA, num_labels=1)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with torch.no_grad():
        rows = torch.cat([expected(row[None]).logits for row in ids])
        torch.testing.assert_close(loaded(tmp_path)(ids).logits, rows)


def test_random_weights_are_those_of_the_seed(tmp_path: Path) -> None:
    import torch

    made(tmp_path, "LlamaForCausalLM", **LLAMA)
    architecture = checkpoint.architecture(tmp_path)
    one, same, other = (load(architecture, Weights(seed=seed)) for seed in (3, 3, 4))
    assert_same_weights(one, same)
    assert not torch.equal(one.model.embed_tokens.weight, other.model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("class_name", "message"),
    [
        ("Evil", r"`transformers` has no model called Evil"),
        ("pipeline", r"has no model called pipeline"),
        ("PreTrainedModel", r"has no model called PreTrainedModel"),
        ("AutoModelForEvil", r"has no AutoModelForEvil of type llama"),
        ("BertModel", r"a model of type llama is no BertModel"),
    ],
)
def test_a_class_that_is_no_such_model_is_named(class_name: str, message: str, tmp_path: Path) -> None:
    made(tmp_path, "LlamaForCausalLM", **LLAMA)
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path, architectures=[class_name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "64"}, r"Field 'hidden_size' expected int, got str|tuple of ints,but got str"),
        ({"hidden_size": 33}, r"hidden size \(33\) is not a multiple of|json requires \("),
        ({"hidden_act": "evil"}, r"LlamaForCausalLM cannot be built: 'evil' is unknown"),
        ({"rope_parameters": 5}, r"'rope_parameters' with value 5 doesn't match|'int' object has no"),
        ({"model_type": "evil"}, r"transformers \S+ has no model type 'evil'"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_it(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Or, with older versions of `transformers` that check no types, what could not be computed with it."""
    made(tmp_path, "LlamaForCausalLM", **LLAMA)
    with pytest.raises(CheckpointError, match=message) as refused:
        loaded(tmp_path, **changes)
    assert "\n" not in str(refused.value)


# --- weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_becomes_single(dtype: str, tmp_path: Path) -> None:
    import torch

    expected = made(tmp_path, "LlamaForCausalLM", **LLAMA).to(getattr(torch, dtype))
    expected.save_pretrained(tmp_path, max_shard_size="20KB")
    (tmp_path / "model.safetensors").unlink()
    assert len(checkpoint.weight_files(tmp_path)) > 1
    assert_same_weights(loaded(tmp_path), expected)


@pytest.mark.parametrize(
    ("class_name", "config", "changes", "message"),
    [
        ("LlamaForCausalLM", LLAMA, {"num_hidden_layers": 3}, r"Tensor model\.layers\.2\.\S+, which config\.json req"),
        ("LlamaForCausalLM", LLAMA, {"num_hidden_layers": 1}, r"Tensor \S*layers\.1\.\S+ of \S+ has no place"),
        ("LlamaForCausalLM", LLAMA, {"vocab_size": 61}, r"Tensor \S+ has shape \(60, 32\) in \S+, but .* \(61, 32\)"),
        (
            "LlamaForCausalLM",
            {**LLAMA, "attention_bias": True},
            {"attention_bias": False},
            r"_proj\.bias of .*no place",
        ),
        ("T5ForConditionalGeneration", T5, {"num_decoder_layers": 1}, r"decoder\.block\.1\.\S+ of \S+ has no place"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    class_name: str, config: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    made(tmp_path, class_name, **config)
    with pytest.raises(CheckpointError, match=message):
        loaded(tmp_path, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"compression_config": {"quant_method": "compressed-tensors"}},
        {"text_config": {"quantization_config": {"quant_method": "fp8"}}},
    ],
)
def test_quantized_weights_are_refused_before_torch_is_imported(changes: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **LLAMA, **changes}))
    code = (
        "import sys; from pathlib import Path; from edgeprof.families import checkpoint\n"
        "try: checkpoint.architecture(Path(sys.argv[1]))\n"
        "finally: print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.stdout == "False\n"
    assert "CheckpointError" in ran.stderr
    method = "gptq|bitsandbytes|compressed-tensors|fp8"
    with pytest.raises(CheckpointError, match=rf"holds weights that were quantized by ({method})\. Export the unquant"):
        checkpoint.architecture(tmp_path)


# --- safety ----------------------------------------------------------------------------------------------------


def test_what_names_code_files_or_repositories_is_left_out_at_every_depth(tmp_path: Path) -> None:
    made(tmp_path, "CLIPModel", **TOWERS)
    before = checkpoint.architecture(tmp_path)
    hostile = {key: value for key, value in HOSTILE.items() if not isinstance(value, dict)}
    parts = {part: {**before.config[part], **hostile} for part in ("text_config", "vision_config")}
    configure(tmp_path, **hostile, **parts, backbone="owner/name", vocab_file="/etc/passwd")
    assert checkpoint.architecture(tmp_path) == before


def test_nothing_is_fetched_and_no_code_is_run(tmp_path: Path) -> None:
    """In a process that could reach a hub: a local one, which counts what it is asked for."""
    folder, trace, asked = tmp_path / "folder", tmp_path / "was-run", list[str]()
    made(folder, "LlamaForCausalLM", **LLAMA)
    code = f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass Model: pass\nclass Config: pass\n"
    (folder / "modeling_mine.py").write_text(code)
    names = {"AutoModelForCausalLM": "modeling_mine.Model", "AutoConfig": "modeling_mine.Config"}
    hostile = {key: value for key, value in HOSTILE.items() if not isinstance(value, dict)}
    configure(folder, **hostile, auto_map=names, backbone="owner/name", architectures=["LlamaForCausalLM"])
    detr = tmp_path / "detr"
    detr.mkdir()
    small = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    fetching = {"backbone": "owner/name", "use_timm_backbone": False, "use_pretrained_backbone": True, **small}
    (detr / "config.json").write_text(json.dumps({"model_type": "detr", "architectures": ["DetrModel"], **fetching}))
    program = (
        "import sys; from pathlib import Path; from edgeprof.families import checkpoint\n"
        "from edgeprof.stages.export.loading import load; from edgeprof.stages.weights import Weights\n"
        "load(checkpoint.architecture(Path(sys.argv[1])), Weights(folder=sys.argv[1]))\n"
        "load(checkpoint.architecture(Path(sys.argv[2])), Weights())\n"
    )
    with serving("owner/name", folder, asked=asked) as hub:
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache")}
        ran = subprocess.run(
            [sys.executable, "-c", program, str(folder), str(detr)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert asked == []
    assert not trace.exists()


def test_numbers_that_are_not_finite_survive(tmp_path: Path) -> None:
    """Mamba 2 limits a step to the range from 0 to infinity."""
    config = {"hidden_size": 16, "num_heads": 4, "head_dim": 8, "state_size": 8, "n_groups": 1, "num_hidden_layers": 1}
    made(tmp_path, "Mamba2Model", **config, vocab_size=60, time_step_limit=(0.0, float("inf")))
    architecture = checkpoint.architecture(tmp_path)
    sent = msgspec.json.decode(msgspec.json.encode(architecture), type=Architecture)
    model: Any = load(sent, Weights(folder=str(tmp_path)))
    assert list(model.config.time_step_limit) == [0.0, float("inf")]
