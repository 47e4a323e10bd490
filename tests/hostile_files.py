"""What a file from elsewhere may say to make its reader load, fetch or show something else."""

from typing import Any

NAME = "\x1b[31mred\u202e|`$x$`<b>\n# head\x00\x9b2J"
"""Steers terminals, turns the direction of text, and means something in Markdown, HTML and formulas."""

LONG = tuple("net-" + "a" * 150 + middle + "b" * 150 for middle in ("-left-", "-right-"))


def unprintable(text: str) -> set[str]:
    """What a text holds that no screen should get, but for line breaks."""
    return {one for one in text if not one.isprintable() and one != "\n"}


CONFIG: dict[str, Any] = {
    "attn_implementation": "kernels-community/flash-attn2",
    "_attn_implementation": "kernels-community/flash-attn2",
    "_attn_implementation_internal": "owner/name",
    "experts_implementation": "owner/name",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "compression_config": {"quant_method": "compressed-tensors"},
    "fusion_config": {"rmsnorm": True},
    "auto_map": {"AutoConfig": "owner/name--configuration.Config"},
    "trust_remote_code": True,
    "custom_pipelines": {"mine": {"impl": "mine.Pipeline"}},
    "transformers_weights": "../elsewhere.safetensors",
    "torch_dtype": "__import__('os')",
    "dtype": ["float16"],
    "text_config": {"model_type": "llama", "attn_implementation": "owner/name"},
    "_name_or_path": "owner/name",
    "torchscript": True,
    "output_attentions": True,
    "return_dict": False,
}
"""Keys of a config.json in which `transformers` or tools beside it follow names."""
