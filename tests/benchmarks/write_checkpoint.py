"""Write a checkpoint with random weights, biases and norms too, and a tokenizer of bytes.

usage: write_checkpoint.py FOLDER, which holds wanted.json: a class of `transformers` and values of its configuration
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

folder = Path(sys.argv[1])
config = json.loads((folder / "wanted.json").read_text())
kind = getattr(transformers, config.pop("class"))
torch.manual_seed(0)
model = kind(kind.config_class(**config))
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
model.save_pretrained(folder)

if model.main_input_name == "input_ids":
    words = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
else:
    transformers.ViTImageProcessor().save_pretrained(folder)
