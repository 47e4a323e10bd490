"""Accuracy of one model's outputs against another's: cosine of vectors; divergence and perplexity of logits.

An output is split into predictions, one vector each. Only sums over them are kept, so that logits over a large
vocabulary are never in memory in double precision.
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
"""Numbers that are converted to double precision at once."""


# --- what is compared ------------------------------------------------------------------------------------------


def task_of(artifact: Artifact) -> Task:
    """The task of a model, from the names of its inputs and outputs."""
    graph = artifact.graph()
    logits = any(spec.name.endswith("logits") for spec in graph.outputs)
    decodes = any(is_past(spec.name) for spec in graph.inputs) or any(is_present(spec.name) for spec in graph.outputs)
    if not logits:
        return "embedding"
    return "next token" if decodes else "classification"


def compared(artifact: Artifact) -> list[TensorSpec]:
    """The outputs to compare: logits, else embeddings of whole texts, else hidden states, else the pooler's output.

    Where a model has none of these, all but the KV cache.
    """
    outputs = [spec for spec in artifact.graph().outputs if not is_present(spec.name) and "float" in spec.dtype]
    for last in ("logits", "sentence_embedding", "last_hidden_state", "pooler_output"):
        chosen = [spec for spec in outputs if spec.name.endswith(last)]
        if chosen:
            return chosen
    return outputs


def predictions(task: Task, name: str, output: NDArray[Any], feeds: Arrays) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split an output into vectors [predictions, width], with the ids of the tokens that follow each, if known.

    The hidden states of an encoder are averaged over its tokens, as sentence encoders do. Other outputs have a vector
    for every token, or one for every row of the batch. Padding is left out, and for next tokens also the last token,
    which nothing follows.
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
    """[batch, tokens], true where a token is not padding; None for an output without a vector per token."""
    ids = feeds.get("input_ids")
    if ids is None or output.ndim != 3 or output.shape[:2] != ids.shape:
        return None
    mask = feeds.get("attention_mask")
    return np.ones(ids.shape, np.bool_) if mask is None else mask[:, -ids.shape[1] :] > 0


# --- measured --------------------------------------------------------------------------------------------------


class Tally:
    """Sums over predictions.

    >>> import numpy as np
    >>> tally = Tally(distributions=False)
    >>> tally.add(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]]))
    >>> tally.cosine_mean, tally.max_rel_error
    (0.96, 0.25)

    Args:
        distributions: whether the vectors are logits, to be compared as distributions too.
    """

    def __init__(self, distributions: bool) -> None:
        self.distributions = distributions
        self.predictions, self.distributed, self.labelled = 0, 0, 0
        self.cosine_sum, self.cosine_min, self.max_rel_error = 0.0, 1.0, 0.0
        self.kl_sum, self.same_first = 0.0, 0
        self.surprise_expected, self.surprise = 0.0, 0.0  # nats, of the tokens that came next

    def add(self, expected: NDArray[Any], actual: NDArray[Any], labels: NDArray[Any] | None = None) -> None:
        """Add vectors, both [predictions, width], with the labels of each."""
        for rows in _chunks(expected):
            ours, theirs = actual[rows].astype(np.float64), expected[rows].astype(np.float64)
            self._add_vectors(theirs, ours)
            if self.distributions and expected.shape[1] > 1:  # a single number is no distribution
                chosen = None if labels is None else labels[rows]
                self._add_distributions(log_softmax(theirs), log_softmax(ours), chosen)

    def _add_vectors(self, expected: NDArray[Any], actual: NDArray[Any]) -> None:
        cosines = cosine(expected, actual)
        errors = np.abs(actual - expected).max(axis=1)
        largest = np.abs(expected).max(axis=1)
        self.predictions += len(expected)
        self.cosine_sum += float(cosines.sum())
        self.cosine_min = min(self.cosine_min, float(cosines.min()))
        self.max_rel_error = max(self.max_rel_error, float((errors / np.where(largest > 0, largest, 1)).max()))

    def _add_distributions(self, expected: NDArray[Any], actual: NDArray[Any], labels: NDArray[Any] | None) -> None:
        self.distributed += len(expected)
        self.kl_sum += float((np.exp(expected) * (expected - actual)).sum())
        self.same_first += int((expected.argmax(axis=1) == actual.argmax(axis=1)).sum())
        if labels is not None:
            self.labelled += len(labels)
            self.surprise_expected -= float(expected[np.arange(len(labels)), labels].sum())
            self.surprise -= float(actual[np.arange(len(labels)), labels].sum())

    @property
    def cosine_mean(self) -> float:
        return self.cosine_sum / self.predictions

    @property
    def kl(self) -> float | None:
        """Nats per prediction; never below 0, whatever the rounding errors."""
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
