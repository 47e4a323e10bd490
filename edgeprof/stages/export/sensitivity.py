"""Whether reference values can tell a wrong graph from a right one: they have to move with every input.

A graph that ignores an input agrees with a reference that ignores it as well, and nothing is proven about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof import kv_cache
from edgeprof.errors import VerificationError
from edgeprof.families.base import Arrays
from edgeprof.schema import Case

if TYPE_CHECKING:
    import torch

    from edgeprof.stages.export.blueprint import Blueprint

MASK = "mask"


def moving(blueprint: Blueprint, still: list[str]) -> Blueprint:
    """The graph without those optional inputs on which its results do not depend.

    Args:
        still: as `unmoved`.

    Raises:
        VerificationError: they do not depend on another one, either; names it.
    """
    unread = [name for name in still if name in blueprint.optional]
    if still == unread:
        return blueprint.without(unread) if unread else blueprint
    raise VerificationError(
        f"The results in PyTorch do not change with {' or '.join(still)}, so they cannot prove that a graph reads it.",
        "Check that the checkpoint is complete: weights that are all zero pass nothing on.",
    )


def unmoved(blueprint: Blueprint) -> list[str]:
    """Inputs, or groups of a cache's, that the results do not depend on, at any case of several tokens or images."""
    still = list(_groups([spec.name for spec in blueprint.inputs]))
    cases = [case for case in blueprint.cases if case.tokens != 1]
    for case in (blueprint.cases[0], *cases):
        if not still:
            break
        still = _unmoved_at(blueprint, case, still)
    return still


def _unmoved_at(blueprint: Blueprint, case: Case, names: Sequence[str]) -> list[str]:
    feeds = blueprint.feeds(case, np.random.default_rng(0))
    others = blueprint.feeds(case, np.random.default_rng(1))
    before, groups = _results(blueprint, feeds), _groups(list(feeds))
    still = []
    for name in names:
        changed = {one: _changed(feeds[one], others[one], one) for one in groups[name]}
        if not _differ(before, _results(blueprint, feeds | changed)):
            still.append(name)
    return still


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Each input alone; the caches of all layers by their part ("key"), as one run for each layer would take long."""
    groups: dict[str, list[str]] = {}
    for name in names:
        group = f"past {name.rsplit('.', 1)[-1]}s" if kv_cache.is_past(name) else name
        groups.setdefault(group, []).append(name)
    return groups


def _changed(array: Any, other: Any, name: str) -> Any:
    """Other values: of a mask, one that hides the first half of every row; of positions, other distances."""
    if MASK in name:
        hidden = np.ones_like(array)
        hidden[..., : max(1, array.shape[-1] // 2)] = 0  # one sample of audio alone would change no frame
        return hidden
    if "position" in name:
        return array + 1 + np.arange(array.shape[-1])
    return other


def _results(blueprint: Blueprint, feeds: Arrays) -> list[torch.Tensor]:
    """Those that are not a cache, which repeats its inputs."""
    import torch

    results = blueprint.reference({name: torch.from_numpy(array) for name, array in feeds.items()})
    named = list(zip(blueprint.outputs, results, strict=True))
    return [result for name, result in named if not kv_cache.is_present(name)] or results


def _differ(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> bool:
    """Whether results differ where both are defined."""
    return any(bool((a != b)[~(a.isnan() | b.isnan())].any()) for a, b in zip(before, after, strict=True))
