"""Decoders that emit fused operators, against the unmodified model, with a growing and with a shared cache."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conformance.architectures.decoders import DECODERS

from edgeprof import kv_cache
from edgeprof.errors import VerificationError
from edgeprof.measure.io_binding import Binding
from edgeprof.process import silent
from edgeprof.providers.session import open_session
from edgeprof.schema import CPU, Case, InputValue
from edgeprof.stages import generation, graph, reference
from edgeprof.stages.export import caches, greedy
from edgeprof.stages.export.decoder import decoders, first_cache
from edgeprof.stages.export.fused_attention import NotFused, described
from edgeprof.stages.export.fused_decoder import FusedDecoder
from edgeprof.stages.export.fused_operators import Norm, Rotary, recognized_norm, recognized_rotary
from edgeprof.stages.export.stage import ExportRequest
from edgeprof.stages.export.trace import translate
from edgeprof.stages.verify import VerifyRequest, run
from edgeprof.stages.weights import Weights

BY_NAME = {model.name: model for model in DECODERS}

EXPORTED = {
    "llama": {"GroupQueryAttention": 4, "RMSNormalization": 9, "RotaryEmbedding": 8, "Transpose": 0, "Split": 4},
    "gemma3": {"GroupQueryAttention": 4, "RMSNormalization": 25, "RotaryEmbedding": 8, "Transpose": 1, "Split": 4},
    "gpt_oss": {"GroupQueryAttention": 2, "RMSNormalization": 5, "RotaryEmbedding": 4, "Split": 2},
    "gpt_neox": {"GroupQueryAttention": 2, "LayerNormalization": 5, "RotaryEmbedding": 4},
    "gpt2": {"GroupQueryAttention": 2, "LayerNormalization": 5, "Gemm": 0, "Transpose": 1},
}
"""Windows, norms of heads, sinks; queries, keys and values by one product, split afterwards; all, a part or none of a
head is rotated. A tied LM head is one transpose."""


def described_by(model: Any) -> FusedDecoder:
    return FusedDecoder(model, caches.leaves(first_cache(model)), "all")


@pytest.fixture(scope="module", params=list(EXPORTED))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[FusedDecoder, Path]:
    """The blueprint of a decoder, and its graph with reference values beside it."""
    model: Any = BY_NAME[request.param].build()
    if request.param == "gpt_oss":
        model.set_experts_implementation("batched_mm")
    file = tmp_path_factory.mktemp(request.param) / "model.onnx"
    with torch.no_grad():
        blueprint = described_by(model)
        reference.write(file.with_name("reference.npz"), blueprint, greedy.expected(model, [blueprint]))
        options = ExportRequest(weights=Weights(), logits="all", opset=24, folder=str(file.parent), route="fused")
        graph.save_all({str(file): translate(blueprint, partial(described_by, model), model, options, silent)})
    return blueprint, file


def checked(blueprint: FusedDecoder, file: Path, values: Path) -> list[float]:
    request = VerifyRequest(model=str(file), reference=str(values), inputs=blueprint.inputs, tolerance=1e-4)
    return [check.max_abs_error for check in run(request, silent).checks]


def test_it_computes_what_the_model_computes(exported: tuple[FusedDecoder, Path]) -> None:
    """Prefill of a padded batch, steps with and without padding in the past, several tokens after others."""
    blueprint, file = exported
    assert len(checked(blueprint, file, file.with_name("reference.npz"))) == len(blueprint.cases) - 1 == 4


def test_each_layer_is_fused(exported: tuple[FusedDecoder, Path], request: pytest.FixtureRequest) -> None:
    _, file = exported
    operators = [node.op_type for node in onnx.load(file, load_external_data=False).graph.node]
    expected = EXPORTED[request.node.callspec.params["exported"]]
    assert {operator: operators.count(operator) for operator in expected} == expected


def test_one_buffer_serves_as_past_and_present(exported: tuple[FusedDecoder, Path]) -> None:
    """A step after 9 tokens: the logits of a growing cache, and the new token written behind the others."""
    blueprint, file = exported
    feeds = blueprint.feeds(Case(batch=2, tokens=1, past_tokens=9), np.random.default_rng(3))
    values = [
        InputValue(name=one, dtype=str(array.dtype), shape=array.shape, fill="zeros") for one, array in feeds.items()
    ]
    growing, shared = (Binding(open_session(str(file)), CPU, values, feeds, room) for room in (0, 10))
    results = []
    for binding in (growing, shared):
        binding.first_run()
        binding.run()  # once more over what the first run wrote
        results.append(binding.outputs())
    for name, expected in results[0].items():
        np.testing.assert_allclose(results[1][name], expected, atol=1e-6)
        if kv_cache.is_present(name):
            (past,) = (one for one in kv_cache.past_of(name) if one in shared.inputs)
            np.testing.assert_array_equal(shared.inputs[past].numpy(), results[1][name])
    assert growing.inputs["past_key_values.0.key"].shape()[2] == 9


def test_greedy_tokens_are_those_of_generate(exported: tuple[FusedDecoder, Path]) -> None:
    """With a growing and a shared cache; a prompt of 4 tokens, and 16 that follow."""
    _, file = exported
    session, tokens = open_session(str(file)), reference.greedy(file.with_name("reference.npz"))
    assert tokens["tokens"].shape == (16,)
    generation.check({"model": session}, tokens, shared=True, advice="")
    third = tokens["tokens"].copy()
    third[2] += 1
    sure = {**tokens, "tokens": third, "lead": np.ones(16)}
    with pytest.raises(VerificationError, match="of token 3 of greedy generation with a growing cache"):
        generation.check({"model": session}, sure, shared=True, advice="")
    generation.check({"model": session}, {**sure, "lead": np.zeros(16)}, shared=True, advice="")  # a tie


def test_a_wrong_number_is_found_and_nothing_else_is_compared(
    exported: tuple[FusedDecoder, Path], tmp_path: Path
) -> None:
    """What padding leaves undefined is NaN in the reference; infinities are wrong numbers."""
    blueprint, file = exported
    case, feeds, outputs = next(item for item in reference.read(file.with_name("reference.npz")) if item[0].batch == 3)
    undefined = np.isnan(outputs["logits"])
    assert undefined[-1, -1].all() and undefined.sum() == undefined[-1, -1].size
    for wrong in (1.0, np.inf):
        changed = {**outputs, "logits": outputs["logits"].copy()}
        changed["logits"][0, 0, 0] += wrong
        reference.save(tmp_path / "wrong.npz", [(case, feeds, changed)])
        with pytest.raises(VerificationError, match="logits"):
            checked(blueprint, file, tmp_path / "wrong.npz")


# --- what cannot be fused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bloom", "its attention cannot be replaced"),  # positions are biases
        ("gptj", "its attention cannot be replaced"),
    ],
)
def test_other_models_keep_their_attention_and_say_why(name: str, reason: str) -> None:
    (decoder,) = decoders(BY_NAME[name].build(), "all", fused=True)
    assert not isinstance(decoder, FusedDecoder) and decoder.note == f"Attention is not fused: {reason}."
    (portable,) = decoders(BY_NAME["gpt2"].build(), "all", fused=False)
    assert not isinstance(portable, FusedDecoder) and portable.note == ""


def test_heads_of_other_sizes_are_not_fused() -> None:
    model = BY_NAME["gpt2"]._replace(config={**BY_NAME["gpt2"].config, "n_head": 16}).build()
    with pytest.raises(NotFused, match="4 and 4 elements, which are not multiples of 8"):
        described_by(model)


# --- recognized by evaluating --------------------------------------------------------------------------------------


def causal(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return key <= query


def test_masks_are_described() -> None:
    assert described(causal).window is None
    assert described(lambda b, h, q, k: (k <= q) & (k > q - 5)).window == 5
    for other in (
        lambda b, h, q, k: k >= 0,  # both ways
        lambda b, h, q, k: (k <= q) & (k // 4 == q // 4),  # in chunks
        lambda b, h, q, k: (k <= q) & ((k > q - 5) | (k < 2)),  # a window, and the first tokens
        lambda b, h, q, k: causal(b, h, q, k) & (torch.ones(3)[b] > 0),  # from data
    ):
        with pytest.raises(NotFused):
            described(other)


class GemmaNorm(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * (1 + self.weight)


def test_norms_are_recognized() -> None:
    assert recognized_norm(torch.nn.RMSNorm(8, eps=1e-6)) == Norm(centered=False, shift=0.0, epsilon=1e-6)
    assert recognized_norm(GemmaNorm()) == Norm(centered=False, shift=1.0, epsilon=1e-5)
    assert recognized_norm(torch.nn.LayerNorm(8, bias=False)) == Norm(centered=True, shift=0.0, epsilon=1e-5)
    for other in (torch.nn.PReLU(8), torch.nn.Linear(8, 8), torch.nn.Embedding(3, 8)):
        assert recognized_norm(other) is None


def test_rotary_embeddings_are_recognized() -> None:
    from transformers.models.cohere.modeling_cohere import apply_rotary_pos_emb as of_cohere
    from transformers.models.glm.modeling_glm import apply_rotary_pos_emb as of_glm
    from transformers.models.gpt_oss.modeling_gpt_oss import apply_rotary_pos_emb as of_gpt_oss
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as of_llama

    assert recognized_rotary(of_llama) == Rotary("halves", "halves")
    assert recognized_rotary(of_cohere) == Rotary("pairs", "pairs")
    assert recognized_rotary(of_glm) == Rotary("pairs", "halves", partial=True)
    assert recognized_rotary(of_gpt_oss) == Rotary("halves", "once")
    assert recognized_rotary(lambda query, key, cos, sin: (query, key)) is None
