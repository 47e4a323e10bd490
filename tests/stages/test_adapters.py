"""Adapter folders: merged weights compute what `peft` computes with the adapter beside them."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeprof.api.export_source import resolve
from edgeprof.errors import CheckpointError
from edgeprof.families import adapter
from edgeprof.process import silent
from edgeprof.stages.export.loading import load

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # which peft reads
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]

LLAMA: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
IDS = [[5, 6, 7, 8], [9, 10, 11, 12]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("adapters") / "base"
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(folder)
    return folder


def trained(
    folder: Path, base: Path, kind: str = "LoraConfig", class_name: str = "LlamaForCausalLM", **config: Any
) -> Any:
    """Logits with an adapter whose tensors are random, saved as `peft` does."""
    import peft
    import torch
    import transformers

    torch.manual_seed(1)
    labels = {"num_labels": 3} if "Sequence" in class_name else {}
    model = getattr(transformers, class_name).from_pretrained(base, **labels)
    wrapped: Any = peft.get_peft_model(model, getattr(peft, kind)(**config)).eval()
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        logits = wrapped(input_ids=torch.tensor(IDS)).logits
    wrapped.save_pretrained(folder)
    return logits


def configure(folder: Path, **changes: Any) -> None:
    file = folder / adapter.ADAPTER_CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def logits_of(folder: Path) -> Any:
    import torch

    source = resolve(str(folder), "auto", {}, silent)
    assert source.weights is not None
    assert source.architecture is not None
    with torch.no_grad():
        return load(source.architecture, source.weights)(input_ids=torch.tensor(IDS)).logits


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (
            "LoraConfig",
            {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "v_proj", "down_proj"], "use_rslora": True},
        ),
        ("LoraConfig", {"target_modules": "all-linear", "use_dora": True}),
        ("LoraConfig", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"], "init_lora_weights": "pissa"}),
        ("LoKrConfig", {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "o_proj"]}),
        ("IA3Config", {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
    ],
)
def test_a_merged_adapter_computes_what_it_computes_beside_its_base(
    kind: str, config: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    import torch

    folder = tmp_path / "adapter"
    expected = trained(folder, base, kind, **config)
    configure(folder, base_model_name_or_path=str(base))
    torch.testing.assert_close(logits_of(folder), expected, atol=2e-5, rtol=1e-4)


def test_a_classifier_that_was_trained_as_an_adapter_has_its_own_head(base: Path, tmp_path: Path) -> None:
    """Of three labels, on a base that has a language model's head."""
    import torch

    config = {"task_type": "SEQ_CLS", "target_modules": ["q_proj"]}
    expected = trained(tmp_path / "adapter", base, class_name="LlamaForSequenceClassification", **config)
    configure(tmp_path / "adapter", base_model_name_or_path=str(base))
    result = logits_of(tmp_path / "adapter")
    assert result.shape == (2, 3)
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-4)


def test_the_base_may_lie_beside_the_adapter(base: Path, tmp_path: Path) -> None:
    folder = base.parent / "beside"
    trained(folder, base, target_modules=["q_proj"])
    configure(folder, base_model_name_or_path="../base")
    source = resolve(str(folder), "auto", {}, silent)
    assert source.weights is not None
    assert (source.name, source.weights.folder, source.weights.adapter) == ("beside", str(base), str(folder))


def test_the_key_of_weights_includes_those_of_the_adapter(base: Path, tmp_path: Path) -> None:
    keys = set()
    for name, rank in (("small", 2), ("large", 4)):
        trained(tmp_path / name, base, target_modules=["q_proj"], r=rank)
        configure(tmp_path / name, base_model_name_or_path=str(base))
        weights = resolve(str(tmp_path / name), "auto", {}, silent).weights
        assert weights is not None
        keys.add(weights.key())
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, r'sets peft_type to "PREFIX_TUNING"\. Adapters that can be merged are LORA'),
        ({"alora_invocation_tokens": [1, 2]}, r"sets alora_invocation_tokens to \[1, 2\]\. Merge it with the tool"),
        ({"layer_replication": [[0, 1], [0, 1]]}, r"sets layer_replication to .* Merge it with the tool"),
        ({"init_lora_weights": "corda"}, r'sets init_lora_weights to "corda"'),
        (
            {"base_model_name_or_path": "./nowhere"},
            r"is an adapter of \./nowhere, which is no folder here\. Set",
        ),
        ({"base_model_name_or_path": None}, r"sets base_model_name_or_path to null"),
        ({"target_modules": ["k_proj"]}, r"(lacks|holds) base_model\S+, against its adapter_config\.json"),
        ({"r": 3}, r"cannot be merged into its base: "),
        ({"r": "many"}, r"cannot be merged into its base: "),
    ],
)
def test_what_cannot_be_merged_is_refused(changes: dict[str, Any], message: str, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    trained(folder, base, target_modules=["q_proj"])
    configure(folder, **{"base_model_name_or_path": str(base), **changes})
    with pytest.raises(CheckpointError, match=message) as refused:
        logits_of(folder)
    assert "\n" not in str(refused.value)


def test_modules_that_an_adapter_names_are_not_imported(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "was-run"
    (tmp_path / "evil_core.py").write_text(f"from pathlib import Path\nPath({str(trace)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    trained(tmp_path / "adapter", base, target_modules=["q_proj"])
    mapping = {"base_model_class": "Model", "parent_library": "evil_core"}
    named = {"megatron_config": {"a": 1}, "megatron_core": "evil_core", "auto_mapping": mapping}
    configure(tmp_path / "adapter", base_model_name_or_path=str(base), **named)
    logits_of(tmp_path / "adapter")
    assert not trace.exists()


def test_a_pickled_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    trained(tmp_path / "adapter", base, target_modules=["q_proj"])
    configure(tmp_path / "adapter", base_model_name_or_path=str(base))
    (tmp_path / "adapter" / adapter.ADAPTER_WEIGHTS).rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"lacks adapter_model\.safetensors\. Save the adapter as safetensors"):
        logits_of(tmp_path / "adapter")
