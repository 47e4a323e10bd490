"""onnxruntime-genai generates from an exported folder what PyTorch generates from the checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprof import export

NEW = 16
GENERATE = """
import json, sys
import onnxruntime_genai as genai

folder, text, new = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = genai.Model(folder)
ids = genai.Tokenizer(model).encode(text)
parameters = genai.GeneratorParams(model)
parameters.set_search_options(max_length=len(ids) + new, min_length=len(ids) + new, do_sample=False)
generator = genai.Generator(model, parameters)
generator.append_tokens(ids)
while not generator.is_done():
    generator.generate_next_token()
print(json.dumps([int(token) for token in generator.get_sequence(0)]))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama whose greedy tokens differ from each other, and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("genai") / "small-llama"
    words = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(words),
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def generated(checkpoint: Path, text: str) -> list[int]:
    """By PyTorch: the prompt and the new tokens."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    ids = AutoTokenizer.from_pretrained(checkpoint)(text, return_tensors="pt").input_ids
    model = LlamaForCausalLM.from_pretrained(checkpoint)
    tokens: list[int] = model.generate(ids, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)[0].tolist()
    return tokens


def test_genai_generates_the_tokens_that_pytorch_generates(checkpoint: Path, tmp_path: Path) -> None:
    exported = export([str(checkpoint)], out=tmp_path, genai=True)
    assert exported[0].artifact is not None
    text = "Hello, world"
    command = [sys.executable, "-c", GENERATE, str(exported[0].artifact.folder), text, str(NEW)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    expected = generated(checkpoint, text)
    assert len(set(expected[-NEW:])) > NEW // 3  # they tell something
    assert json.loads(output.splitlines()[-1]) == expected
