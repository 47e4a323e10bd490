"""Records of older versions, turned into those of the version after it: a function for each class that changed.

A function takes the plain fields of a record of its version and returns those of the next; classes without one did
not change.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edgeprof.schema.identity import Precision, WeightsSource
from edgeprof.schema.models import Artifact

Fields = dict[str, Any]
Upgrade = Callable[[Fields], Fields]


def weights_source(text: str) -> WeightsSource:
    """Of the words of version 1: "pretrained (...)", "random (seed N)", "file".

    >>> weights_source("pretrained (openai-community/gpt2)").origin
    'openai-community/gpt2'
    """
    if match := re.fullmatch(r"random \(seed (\d+)\)", text):
        return WeightsSource(kind="random", seed=int(match[1]))
    if match := re.fullmatch(r"pretrained \((.*)\)", text):
        return WeightsSource(kind="pretrained", origin=match[1])
    if text == "file":
        return WeightsSource(kind="file")
    raise ValueError(f"`weights` is {text!r}")


def _artifact(fields: Fields) -> Fields:
    precision, weights = Precision.parse(fields["precision"]), weights_source(fields["weights"])
    return {**fields, "precision": msgspec.to_builtins(precision), "weights": msgspec.to_builtins(weights)}


UPGRADES: Mapping[int, Mapping[type, Upgrade]] = {1: {Artifact: _artifact}}
"""From each older version to the next, by class of record."""
