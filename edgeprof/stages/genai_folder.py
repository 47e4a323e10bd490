"""Files beside a fused decoder with which onnxruntime-genai runs it: `genai_config.json`, and those of its tokenizer.

As a model of type "decoder", onnxruntime-genai takes any architecture as the graph describes it. Past and present of
its KV cache are one buffer, of as many tokens as `max_length` allows.

https://onnxruntime.ai/docs/genai/reference/config.html
"""

import json
from pathlib import Path
from typing import Any

from edgeprof import kv_cache
from edgeprof.errors import CheckpointError, UsageError
from edgeprof.schema import Artifact, Graph
from edgeprof.store import read_bytes, within, write_atomic

CONFIG_FILE = "genai_config.json"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
OTHER_FILES = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja")

INPUTS = ("input_ids", "attention_mask", "position_ids")
LONGEST = 4096
"""Tokens that the buffer has room for unless a user asks for more, which `context_length` allows."""


def require_tokenizer(name: str, checkpoint: Path | None) -> Path:
    """The folder of a checkpoint, which has a tokenizer.

    Raises:
        CheckpointError: there is none.
    """
    if checkpoint is not None and (checkpoint / TOKENIZER_FILE).is_file():
        return checkpoint
    where = f"{checkpoint} has none" if checkpoint else "its weights are random"
    raise CheckpointError(
        f"onnxruntime-genai needs the {TOKENIZER_FILE} of {name}, and {where}.",
        f"Export a checkpoint folder that has one{'' if checkpoint else ', with its weights'}.",
    )


def write(artifact: Artifact, checkpoint: Path) -> None:
    """Write the files into the artifact's folder.

    Args:
        checkpoint: the folder with the tokenizer.

    Raises:
        UsageError: the model is no fused decoder.
        CheckpointError: its tokenizer, or a file with ids of its special tokens, is missing or damaged.
    """
    require_tokenizer(artifact.name, checkpoint)
    graph = _fused_decoder(artifact)
    config = {
        "model": {
            "type": "decoder",
            **special_tokens(checkpoint),
            "vocab_size": graph.outputs[0].dims[-1],
            "context_length": _context_length(artifact),
            "decoder": _decoder(graph),
        },
        "search": {"max_length": min(_context_length(artifact), LONGEST), "past_present_share_buffer": True},
    }
    _copy_tokenizer(checkpoint, artifact.folder)
    write_atomic(artifact.folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())


def _fused_decoder(artifact: Artifact) -> Graph:
    if len(artifact.graphs) == 1 and _fused(artifact.graphs[0]):
        return artifact.graphs[0]
    raise UsageError(
        f"{artifact.name} is not a decoder with fused attention and one KV cache, which onnxruntime-genai runs.",
        "Export it without --genai.",
    )


def _fused(graph: Graph) -> bool:
    caches = [spec for spec in graph.inputs if kv_cache.is_past(spec.name)]
    others = {spec.name for spec in graph.inputs if spec not in caches}
    layers = len(caches) // 2
    usual = kv_cache.specs(kv_cache.EXPORTED.past, layers, caches[0].dims, dtype=caches[0].dtype) if caches else ()
    return (
        "GroupQueryAttention" in graph.count.nodes
        and graph.outputs[0].name == "logits"
        and others <= set(INPUTS)
        and tuple(caches) == usual
    )


def _decoder(graph: Graph) -> dict[str, Any]:
    caches = [spec for spec in graph.inputs if kv_cache.is_past(spec.name)]
    past, present = kv_cache.EXPORTED
    return {
        "filename": Path(graph.path).name,
        "session_options": {"provider_options": []},
        "num_hidden_layers": len(caches) // 2,
        "num_key_value_heads": caches[0].dims[1],
        "head_size": caches[0].dims[-1],
        "inputs": {
            **{spec.name: spec.name for spec in graph.inputs if spec not in caches},
            "past_key_names": f"{past}.%d.key",
            "past_value_names": f"{past}.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": f"{present}.%d.key",
            "present_value_names": f"{present}.%d.value",
        },
    }


def _context_length(artifact: Artifact) -> int:
    described = artifact.variant or artifact.architecture
    return (described.max_tokens if described else None) or LONGEST


def special_tokens(checkpoint: Path) -> dict[str, int | list[int]]:
    """Ids as the checkpoint's own files say: for generation where they differ, else of the model, else the tokenizer.

    Raises:
        CheckpointError: nothing says where a text ends.
    """
    files = (_json(checkpoint / "generation_config.json"), _json(checkpoint / "config.json"), _of_tokenizer(checkpoint))
    ids: dict[str, int | list[int]] = {}
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        known = [file[name] for file in files if _is_id(file.get(name))]
        if known:
            ids[name] = known[0]
    if "eos_token_id" not in ids:
        raise CheckpointError(f"{checkpoint} does not say which token ends a text.", "Add eos_token_id to config.json.")
    if "pad_token_id" not in ids:
        ends = ids["eos_token_id"]
        ids["pad_token_id"] = ends[0] if isinstance(ends, list) else ends
    return ids


def _is_id(value: object) -> bool:
    each = value if isinstance(value, list) and value else [value]
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in each)


def _of_tokenizer(checkpoint: Path) -> dict[str, Any]:
    """Ids of the special tokens that the tokenizer's configuration names."""
    names = _json(checkpoint / TOKENIZER_CONFIG)
    ids = {
        token.get("content"): token.get("id") for token in _json(checkpoint / TOKENIZER_FILE).get("added_tokens", ())
    }
    return {f"{kind}_token_id": ids.get(_text(names.get(f"{kind}_token"))) for kind in ("bos", "eos", "pad")}


def _text(token: object) -> object:
    """A token is written as its text, or as an object with it."""
    return token.get("content") if isinstance(token, dict) else token


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no such file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(read_bytes(path, CheckpointError))
    except (ValueError, RecursionError) as problem:
        raise CheckpointError(f"{path} is not valid JSON ({problem}).", "Download it again.") from problem
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object.", "Download it again.")
    return value


def _copy_tokenizer(checkpoint: Path, folder: Path) -> None:
    for name in (TOKENIZER_FILE, TOKENIZER_CONFIG, *OTHER_FILES):
        if (checkpoint / name).exists():
            file = within(checkpoint, name, checkpoint, CheckpointError)
            write_atomic(folder / name, read_bytes(file, CheckpointError))
    if not (checkpoint / TOKENIZER_CONFIG).exists():  # onnxruntime-genai opens it in any case
        write_atomic(folder / TOKENIZER_CONFIG, b"{}\n")
