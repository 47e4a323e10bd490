"""A graph whose layers were replicated is the graph of a full trace, node by node and value by value."""

from collections import Counter
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import transformers

from edgeprof.process import silent
from edgeprof.schema import Architecture
from edgeprof.stages.export import layers, trace
from edgeprof.stages.export.blueprint import Blueprint
from edgeprof.stages.export.kinds import graphs_of
from edgeprof.stages.export.stage import OPSET, ExportRequest
from edgeprof.stages.weights import Weights

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "vocab_size": 60,
    "num_hidden_layers": 4,
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
IMAGE = {"image_size": 32, "patch_size": 8}
WHISPER = {"encoder_layers": 4, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
MODELS: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": SIZES,
    "GPT2LMHeadModel": {"n_layer": 4, "n_embd": 32, "n_head": 2, "vocab_size": 60, "n_positions": 40},
    "Gemma3ForCausalLM": {
        **SIZES,
        "num_hidden_layers": 6,
        "head_dim": 16,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 3,
    },
    "BertModel": SIZES,
    "ViTForImageClassification": {**SIZES, **IMAGE},
    "T5ForConditionalGeneration": {
        **TOKENS,
        "d_model": 32,
        "d_kv": 16,
        "d_ff": 48,
        "num_layers": 4,
        "num_decoder_layers": 4,
        "num_heads": 2,
        "vocab_size": 60,
    },
    "WhisperForConditionalGeneration": {
        **TOKENS,
        "d_model": 32,
        "decoder_layers": 4,
        "decoder_attention_heads": 2,
        "max_source_positions": 20,
        "num_mel_bins": 8,
        "vocab_size": 60,
        **WHISPER,
    },
}
"""With biases and norms that differ between layers: see `model_of`."""


def model_of(name: str, **config: Any) -> Any:
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def traced(blueprint: Blueprint) -> ir.Model:
    architecture = Architecture(class_name="", model_type="", config={})
    request = ExportRequest(architecture=architecture, weights=Weights(), logits="all", opset=OPSET, folder="")
    with torch.no_grad():
        return trace.trace(blueprint, request, silent)


def results(model: ir.Model, feeds: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    assert [one.name for one in session.get_inputs()] == list(feeds)
    return session.run(None, feeds)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", MODELS)
def test_a_replicated_graph_is_that_of_a_full_trace(name: str) -> None:
    model = model_of(name, **MODELS[name])
    with torch.no_grad():
        wholes = graphs_of(model, "all")
    for index, whole in enumerate(wholes):
        attempts: list[Blueprint] = []

        def counted(one: Blueprint, attempts: list[Blueprint] = attempts) -> ir.Model:
            attempts.append(one)
            return traced(one)

        short = layers.traced(model, whole, lambda index=index: graphs_of(model, "all")[index], counted)  # type: ignore[misc]
        full = traced(whole)

        assert len(attempts) == 1 and attempts[0] is not whole, "all layers were traced"
        assert operators(short) == operators(full)
        assert weights(short) == weights(full)
        feeds = whole.feeds(whole.cases[1], np.random.default_rng(1))
        for ours, theirs in zip(results(short, feeds), results(full, feeds), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def operators(model: ir.Model) -> Counter[str]:
    """Constants apart: a full trace shares other ones."""
    return Counter(node.op_type for node in model.graph if node.op_type != "Constant")


def weights(model: ir.Model) -> set[str]:
    """Constants apart: their numbers are those of the trace."""
    return {name for name in model.graph.initializers if "lifted" not in name}


def test_layers_that_depend_on_their_number_are_all_traced() -> None:
    model = model_of("GPT2LMHeadModel", **MODELS["GPT2LMHeadModel"], scale_attn_by_inverse_layer_idx=True)
    model.set_attn_implementation("eager")  # some versions of transformers ignore the scale in others
    (whole,) = graphs_of(model, "all")
    attempts: list[Blueprint] = []

    def counted(one: Blueprint) -> ir.Model:
        attempts.append(one)
        return traced(one)

    layers.traced(model, whole, lambda: graphs_of(model, "all")[0], counted)
    assert attempts[-1] is whole


def test_a_shortened_model_is_as_before_at_the_end() -> None:
    model = model_of("Gemma3ForCausalLM", **MODELS["Gemma3ForCausalLM"])
    before = str(model), model.config.to_dict()
    with layers.shortened(model) as (stack,):
        assert stack.kept == [0, 1, 2, 3, 4]  # the first, then two more of each kind
        assert len(model.model.layers) == model.config.num_hidden_layers == len(model.config.layer_types) == 5
        assert [layer.self_attn.layer_idx for layer in model.model.layers] == [0, 1, 2, 3, 4]
    assert (str(model), model.config.to_dict()) == before
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == list(range(6))
