"""Parameter counts are exact: for every variant, every task head, and every configuration value that changes them."""

from typing import Any

import pytest
import tiny_models

from edgeprof.families import TRANSFORMERS, family_of, find_variant, variants
from edgeprof.schema import Variant

TOTALS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-small": 125_226_240,
    "gpt3-medium": 355_871_744,
    "gpt3-large": 760_300_032,
    "gpt3-xl": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3": 174_604_259_328,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1.4b": 1_414_647_808,
    "phi-1.5": 1_418_270_720,
    "phi-2": 2_779_683_840,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_248_023_552,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "deepseek-r1-distill-1.5b": 1_777_088_000,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-30b-a3b": 30_532_122_624,
    "gemma-2b": 2_506_172_416,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "phi-3-mini": 3_821_079_552,
    "phi-4-mini": 3_836_021_760,
    "smollm3-3b": 3_075_098_624,
    "olmo2-1b": 1_484_916_736,
    "olmo2-7b": 7_298_617_344,
    "granite-3.3-2b": 2_533_539_840,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "all-minilm-l6-v2": 22_713_216,
    "all-minilm-l12-v2": 33_360_000,
    "bge-small-en-v1.5": 33_360_000,
    "distilbert-base": 66_362_880,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilroberta-base": 82_118_400,
    "xlm-roberta-base": 278_043_648,
    "xlm-roberta-large": 559_890_432,
    "camembert-base": 110_621_952,
    "modernbert-base": 149_014_272,
    "modernbert-large": 394_781_696,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "whisper-tiny": 37_760_640,
    "whisper-base": 72_593_920,
    "whisper-small": 241_734_912,
    "whisper-medium": 763_857_920,
    "whisper-large-v3": 1_543_490_560,
    "whisper-large-v3-turbo": 808_878_080,
    "vit-tiny": 5_717_416,
    "vit-small": 22_050_664,
    "vit-base": 86_567_656,
    "vit-large": 304_326_632,
    "vit-huge": 632_045_800,
    "dinov2-small": 22_056_576,
    "dinov2-base": 86_580_480,
    "dinov2-large": 304_368_640,
    "clip-vit-base-patch32": 151_277_313,
    "clip-vit-base-patch16": 149_620_737,
    "clip-vit-large-patch14": 427_616_513,
    "mixer-dense": 154_618_822_656,  # (512 x 768)^2
    "mixer-pointwise": 589_824,  # 768^2
    "mixer-gram": 0,
    "mixer-attention": 1_769_472,  # 3 x 768^2
    "mixer-block": 7_087_872,  # 12 x 768^2 + 13 x 768
    "embedding-word2vec": 900_000_000,  # 3,000,000 x 300
}


def counted(variant: Variant) -> int:
    return family_of(variant).params(variant)


def test_the_table_holds_these_variants_and_no_others() -> None:
    assert [variant.name for variant in variants()] == list(TOTALS)


@pytest.mark.parametrize("name", TOTALS)
def test_every_variant_has_the_published_number_of_parameters(name: str) -> None:
    assert counted(find_variant(name)) == TOTALS[name]


@pytest.mark.parametrize(
    ("name", "layers", "d"),
    [
        ("gpt3-small", 12, 768),
        ("gpt3-medium", 24, 1024),
        ("gpt3-large", 24, 1536),
        ("gpt3-xl", 24, 2048),
        ("gpt3-2.7b", 32, 2560),
        ("gpt3-6.7b", 32, 4096),
        ("gpt3-13b", 40, 5120),
        ("gpt3", 96, 12288),
    ],
)
def test_gpt3_is_tokens_positions_blocks_and_a_last_norm(name: str, layers: int, d: int) -> None:
    assert TOTALS[name] == 50_257 * d + 2048 * d + layers * (12 * d**2 + 13 * d) + 2 * d


@pytest.mark.parametrize("name", TOTALS)
def test_pytorch_counts_the_same(name: str) -> None:
    assert tiny_models.torch_params(find_variant(name)) == TOTALS[name]


@pytest.mark.parametrize(("family", "task"), tiny_models.EVERY_TASK)
def test_every_task_head_is_counted(family: str, task: str) -> None:
    variant = tiny_models.variant(family, task)
    assert counted(variant) == tiny_models.torch_params(variant)


@pytest.mark.parametrize(
    ("family", "task", "config"),
    [
        ("gpt2", "causal-lm", {"tie_word_embeddings": False}),
        ("gpt2", "causal-lm", {"n_inner": 40}),
        ("gpt2", "causal-lm", {"n_inner": None}),
        ("gpt2", "token-classification", {"num_labels": 5}),
        ("bert", "masked-lm", {"tie_word_embeddings": False}),
        ("bert", "base", {"type_vocab_size": 7}),
        ("bert", "sequence-classification", {"num_labels": 3}),
        ("roberta", "masked-lm", {"tie_word_embeddings": False}),
        ("distilbert", "masked-lm", {"tie_word_embeddings": False}),
        ("distilbert", "sequence-classification", {"num_labels": 3}),
        ("modernbert", "masked-lm", {"tie_word_embeddings": False}),
        ("modernbert", "masked-lm", {"decoder_bias": False, "classifier_bias": True}),
        ("modernbert", "base", {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
        ("dinov2", "base", {"use_mask_token": False, "qkv_bias": False, "mlp_ratio": 3}),
        ("t5", "seq2seq-lm", {"num_decoder_layers": 3}),
        ("t5", "seq2seq-lm", {"feed_forward_proj": "gated-gelu"}),
        ("whisper", "speech-seq2seq", {"tie_word_embeddings": False}),
        ("vit", "image-classification", {"qkv_bias": False}),
        ("vit", "image-classification", {"num_channels": 1}),
        ("llama", "causal-lm", {"attention_bias": True}),
        ("llama", "causal-lm", {"mlp_bias": True}),
        ("llama", "causal-lm", {"tie_word_embeddings": True}),
        ("llama", "causal-lm", {"num_key_value_heads": None}),
        ("llama", "causal-lm", {"head_dim": None}),
    ],
)
def test_every_setting_that_changes_the_count_is_read(family: str, task: str, config: dict[str, Any]) -> None:
    variant = tiny_models.variant(family, task, **config)
    assert counted(variant) == tiny_models.torch_params(variant)


def test_one_block_of_width_768_has_7_087_872_parameters() -> None:
    """12 d^2 + 13 d: 12 x 589,824 + 13 x 768."""
    for name, layers in (("gpt2", "n_layer"), ("bert-base", "num_hidden_layers"), ("vit-base", "num_hidden_layers")):
        variant = find_variant(name)
        shorter = Variant(
            name=name,
            family=variant.family,
            task=variant.task,
            config={**variant.config, layers: 11},
            max_tokens=None,
        )
        assert counted(variant) - counted(shorter) == 7_087_872


def test_every_family_knows_the_defaults_of_its_transformers_configuration() -> None:
    import transformers

    for family in TRANSFORMERS:
        config = transformers.AutoConfig.for_model(family.model_type)
        written = family.written(config.to_dict())
        for key, value in family.defaults.items():
            actual = written[key] if key in written else getattr(config, key)
            assert actual == value, (family.name, key)
