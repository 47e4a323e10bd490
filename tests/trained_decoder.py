"""A decoder that has learned something: a small GPT-2, trained for less than a minute on the text edgeprof ships.

With random weights every token is as likely as any other, and a recipe that ruins a model cannot be told from one that
does not. This one has seen its text many times and predicts it well, so what is lost shows.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.stages.samples import SHIPPED_TEXT

if TYPE_CHECKING:
    import torch

VOCABULARY = 512
STEPS = 400
ROWS, TOKENS = 4, 128  # of one step


def decoder(folder: Path) -> Path:
    """A checkpoint as `save_pretrained` writes it, its tokenizer.json beside it. The same weights every time."""
    import torch
    import transformers

    text = SHIPPED_TEXT.read_text(encoding="utf-8")
    folder.mkdir(parents=True)
    tokens = torch.tensor(_tokenized(text, folder / "tokenizer.json"))
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=TOKENS,
        n_embd=128,
        n_layer=3,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # quicker at this size, and the same sums on every machine
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.GPT2LMHeadModel(config)
            _train(model, tokens)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(folder)
    return folder


def _tokenized(text: str, file: Path) -> list[int]:
    """Ids of the text by a byte-level BPE tokenizer made for it, which is left in `file`."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text], vocab_size=VOCABULARY, show_progress=False)
    tokenizer.save(str(file))
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def _train(model: "torch.nn.Module", tokens: "torch.Tensor") -> None:
    """Windows from anywhere in the text, the learning rate rising and falling once."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=STEPS)
    model.train()
    for _ in range(STEPS):
        starts = torch.randint(0, len(tokens) - TOKENS, (ROWS,))
        rows = torch.stack([tokens[start : start + TOKENS] for start in starts.tolist()])
        optimizer.zero_grad()
        loss = model(input_ids=rows, labels=rows, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
