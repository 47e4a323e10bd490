"""GGUF files: what PyTorch computes with the weights that were written, unpacked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof import process
from edgeprof.api.export_source import resolve
from edgeprof.errors import CheckpointError, UsageError
from edgeprof.stages.export import gguf as gguf_stage
from edgeprof.stages.export.loading import load

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of `transformers` -> those of llama.cpp."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A Qwen2 as llama.cpp writes it, its MLPs in blocks of 8 bits; and the model with the weights of those blocks."""
    import gguf
    import torch
    import transformers

    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    torch.manual_seed(0)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES, tie_word_embeddings=False)).eval()
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(64)
    writer.add_name("tiny")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
            if "mlp" not in name:
                writer.add_tensor(_name(name), parameter.numpy().copy())
                continue
            blocks = gguf.quants.quantize(parameter.numpy(), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(_name(name), blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            unpacked = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)
            assert not np.array_equal(unpacked, parameter.numpy())
            parameter.copy_(torch.from_numpy(unpacked))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file, model


def _name(name: str) -> str:
    body, _, end = name.rpartition(".")
    layer, _, rest = body.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{NAMES[rest]}.{end}" if body.startswith("model.layers.") else f"{NAMES[body]}.{end}"


def test_a_file_is_the_model_that_it_was_made_of(written: tuple[Path, Any]) -> None:
    import torch

    file, expected = written
    source = resolve(str(file), "auto", {}, process.silent)
    assert source.architecture is not None
    assert source.weights is not None
    assert (source.name, source.architecture.class_name, source.architecture.max_tokens) == (
        "tiny",
        "Qwen2ForCausalLM",
        64,
    )
    assert source.generates
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    with torch.no_grad():
        result = load(source.architecture, source.weights)(input_ids=ids).logits
        torch.testing.assert_close(result, expected(ids).logits, atol=1e-5, rtol=1e-5)


def test_a_folder_may_hold_one_of_them(written: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "one.gguf").symlink_to(written[0])
    (tmp_path / "generation_config.json").write_text('{"custom_generate": "owner/name"}')
    source = resolve(str(tmp_path), "auto", {}, process.silent)
    assert source.weights is not None
    assert (source.name, len(source.weights.key())) == ("one", 64)
    (tmp_path / "two.gguf").symlink_to(written[0])
    with pytest.raises(UsageError, match=r"holds several GGUF files\. Name one of them, such as \S+one\.gguf"):
        resolve(str(tmp_path), "auto", {}, process.silent)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, b"PK\x03\x04" * 9])
def test_a_file_that_is_no_gguf_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.gguf cannot be read: .*\. Export the model that it was made"):
        gguf_stage.run(gguf_stage.ReadRequest(file=str(file)), process.silent)
