"""How far one model's outputs are from another's: vectors by their direction, logits by what they say of the next step.

An output is cut into predictions, vectors that each mean one thing; of those, sums are kept and nothing else, so that
logits over a large vocabulary never stand in memory in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgeprof.families.base import Arrays
from edgeprof.kv_cache import is_past, is_present
from edgeprof.schema import Artifact, TensorSpec
from edgeprof.similarity import cosine

if TYPE_CHECKING:
    from numpy.typing import NDArray

Task = Literal["embedding", "next token", "classification"]

CHUNK = 1 << 21
"""Numbers that are taken to double precision at once."""


# --- what is compared ------------------------------------------------------------------------------------------


def task_of(artifact: Artifact) -> Task:
    """By what a model is good for: the task of its variant; of a foreign file, the names of its outputs."""
    logits = any(spec.name.endswith("logits") for spec in artifact.outputs)
    decodes = any(is_past(spec.name) for spec in artifact.inputs)
    if not logits:
        return "embedding"
    return "next token" if decodes else "classification"


def compared(artifact: Artifact) -> list[TensorSpec]:
    """The outputs that mean something: logits, else the hidden states, else the pooler's, else all but the KV cache."""
    outputs = [spec for spec in artifact.outputs if not is_present(spec.name) and "float" in spec.dtype]
    for last in ("logits", "last_hidden_state", "pooler_output"):
        chosen = [spec for spec in outputs if spec.name.endswith(last)]
        if chosen:
            return chosen
    return outputs


def predictions(task: Task, name: str, output: NDArray[Any], feeds: Arrays) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Vectors that each mean one thing, [predictions, width], and the ids of the tokens that came next, if known.

    The hidden states of an encoder are averaged over its tokens, as sentence encoders do it. Other outputs have a
    vector for every token, or one for every row of the batch. Padding is left out; of next tokens the last too, after
    which nothing came.
    """
    if output.ndim not in (2, 3):
        return output.reshape(len(output) if output.ndim else 1, -1), None
    attended = _attended(output, feeds)
    if name == "last_hidden_state" and output.ndim == 3:
        return _averaged(output, attended), None
    vectors = output.reshape(-1, output.shape[-1])
    if attended is None:
        return vectors, None
    if task != "next token" or output.shape[1] == 1:
        return vectors[attended.ravel()], None
    followed = np.zeros_like(attended)
    followed[:, :-1] = attended[:, :-1] & attended[:, 1:]
    return vectors[followed.ravel()], np.roll(feeds["input_ids"], -1, axis=1)[followed]


def _averaged(states: NDArray[Any], attended: NDArray[np.bool_] | None) -> NDArray[Any]:
    weights = np.ones(states.shape[:2]) if attended is None else attended.astype(np.float64)
    mean: NDArray[Any] = np.einsum("btw,bt->bw", states, weights) / np.maximum(weights.sum(1, keepdims=True), 1)
    return mean


def _attended(output: NDArray[Any], feeds: Arrays) -> NDArray[np.bool_] | None:
    """[batch, tokens], true where a token is no padding; None where an output has nothing for each token."""
    ids = feeds.get("input_ids")
    if ids is None or output.ndim != 3 or output.shape[:2] != ids.shape:
        return None
    mask = feeds.get("attention_mask")
    return np.ones(ids.shape, np.bool_) if mask is None else mask[:, -ids.shape[1] :] > 0


# --- measured --------------------------------------------------------------------------------------------------


class Tally:
    """Sums over predictions. `distributions`: the vectors are logits, of which softmax makes probabilities."""

    def __init__(self, distributions: bool) -> None:
        self.distributions = distributions
        self.predictions, self.distributed, self.labelled = 0, 0, 0
        self.cosine_sum, self.cosine_min, self.max_rel_error = 0.0, 1.0, 0.0
        self.kl_sum, self.same_first = 0.0, 0
        self.surprise_expected, self.surprise = 0.0, 0.0  # nats, of the tokens that came next

    def add(self, expected: NDArray[Any], found: NDArray[Any], labels: NDArray[Any] | None = None) -> None:
        """Count vectors in; both are [predictions, width]."""
        for rows in _chunks(expected):
            wanted, got = expected[rows].astype(np.float64), found[rows].astype(np.float64)
            self._add_directions(wanted, got)
            if self.distributions and expected.shape[1] > 1:  # a single number is no choice
                self._add_distributions(log_softmax(wanted), log_softmax(got), None if labels is None else labels[rows])

    def _add_directions(self, expected: NDArray[Any], found: NDArray[Any]) -> None:
        cosines = cosine(expected, found)
        errors = np.abs(found - expected).max(axis=1)
        largest = np.abs(expected).max(axis=1)
        self.predictions += len(expected)
        self.cosine_sum += float(cosines.sum())
        self.cosine_min = min(self.cosine_min, float(cosines.min()))
        self.max_rel_error = max(self.max_rel_error, float((errors / np.where(largest > 0, largest, 1)).max()))

    def _add_distributions(self, expected: NDArray[Any], found: NDArray[Any], labels: NDArray[Any] | None) -> None:
        self.distributed += len(expected)
        self.kl_sum += float((np.exp(expected) * (expected - found)).sum())
        self.same_first += int((expected.argmax(axis=1) == found.argmax(axis=1)).sum())
        if labels is not None:
            self.labelled += len(labels)
            self.surprise_expected -= float(expected[np.arange(len(labels)), labels].sum())
            self.surprise -= float(found[np.arange(len(labels)), labels].sum())

    @property
    def cosine_mean(self) -> float:
        return self.cosine_sum / self.predictions

    @property
    def kl(self) -> float | None:
        """Nats per prediction; never below 0, whatever is lost in rounding."""
        return max(self.kl_sum / self.distributed, 0.0) if self.distributed else None

    @property
    def top1(self) -> float | None:
        return self.same_first / self.distributed if self.distributed else None

    @property
    def perplexities(self) -> tuple[float, float] | None:
        """Of the fp32 file and of the other one, over the same tokens."""
        if not self.labelled:
            return None
        return math.exp(self.surprise_expected / self.labelled), math.exp(self.surprise / self.labelled)


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _chunks(vectors: NDArray[Any]) -> Iterator[slice]:
    step = max(CHUNK // vectors.shape[1], 1)
    return (slice(start, start + step) for start in range(0, len(vectors), step))
