"""A tiny model of every architecture that people export, as checkpoint folders.

tiny_model   one of them: its class, its configuration, and the folder that is made of it
encoders     bidirectional transformers, with their heads
decoders     with a cache: of keys and values, of states, or of both
sequences    encoder-decoders: text, speech and images to text
images       image encoders, with the heads of classification, detection, segmentation and depth
audio        encoders of raw waves
pairs        images and text: two towers, and vision-language models
"""

from .audio import AUDIO
from .decoders import DECODERS
from .encoders import ENCODERS
from .images import IMAGES
from .pairs import PAIRS
from .sequences import SEQUENCES
from .tiny_model import Kind, TinyModel

ARCHITECTURES: tuple[TinyModel, ...] = (*ENCODERS, *DECODERS, *SEQUENCES, *IMAGES, *AUDIO, *PAIRS)


def find(name: str) -> TinyModel:
    """One of ARCHITECTURES by name."""
    return next(one for one in ARCHITECTURES if one.name == name)


__all__ = ["ARCHITECTURES", "Kind", "TinyModel", "find"]
