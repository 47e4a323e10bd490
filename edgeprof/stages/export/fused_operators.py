"""Norms and rotary embeddings as one operator each: RMSNormalization and RotaryEmbedding, since operator set 23.

What a module or a function of a model computes is found by evaluating it, not by its name: every architecture has its
own, and they differ in what they add to a weight and in what they rotate. What is not recognized is traced as it is.

Measured with onnxruntime 1.32 on two cores, at width 576: a norm takes 0.6 us for one token as an operator of its own,
and 18 us for 128. SkipSimplifiedLayerNormalization, which adds the residual too, takes 1.0 and 44 us where an Add and a
norm take 1.1 and 29 us: it is not used. A rotation of one token takes 0.6 us, so that folding it into
GroupQueryAttention, which needs tables of all positions, gains next to nothing.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import torch

SINCE = 23
"""The first operator set that has both operators."""

ROTATE = "apply_rotary_pos_emb"
"""The function of a module of `transformers` that rotates queries and keys by cosines and sines."""

FAILURES = (AttributeError, IndexError, RuntimeError, TypeError, ValueError)
"""What something may raise that is evaluated as what it is not."""

Layout = Literal["halves", "pairs"]
"""Which numbers belong together: those of the first and second half, or neighbours."""


class Replacement(NamedTuple):
    """A forward of a module, or a function of a file of `transformers`, that emits operators of its own."""

    owner: Any
    name: str
    value: Callable[..., Any]


def replacements(model: torch.nn.Module) -> list[Replacement]:
    """What makes a model of `transformers` emit these operators, and MatMul for Conv1D; evaluates its parts."""
    from transformers.pytorch_utils import Conv1D

    found = []
    for module in model.modules():
        if isinstance(module, Conv1D):
            found.append(Replacement(module, "forward", partial(_linear, module)))
        elif norm := recognized_norm(module):
            found.append(Replacement(module, "forward", _normalizing(module, norm)))
    for source in {sys.modules[type(module).__module__] for module in model.modules()}:
        rotate = getattr(source, ROTATE, None)
        if rotary := rotate and recognized_rotary(rotate):
            found.append(Replacement(source, ROTATE, _rotating(rotate, rotary)))
    return found


@contextmanager
def replaced(replacements: Sequence[Replacement]) -> Iterator[None]:
    """Put replacements in place for a while."""
    before = [vars(one.owner).get(one.name) for one in replacements]
    for one in replacements:
        setattr(one.owner, one.name, one.value)
    try:
        yield
    finally:
        for one, own in zip(replacements, before, strict=True):
            if own is None:
                delattr(one.owner, one.name)
            else:
                setattr(one.owner, one.name, own)


def _linear(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Conv1D of `transformers`, without the reshapes that its addmm needs."""
    import torch

    return torch.matmul(x, module.weight) + module.bias  # type: ignore[arg-type, operator]


# --- norms ---------------------------------------------------------------------------------------------------------


class Norm(NamedTuple):
    """y = (x - mean?) / sqrt(mean of squares + epsilon) * (weight + shift)"""

    centered: bool
    shift: float
    epsilon: float


def recognized_norm(module: torch.nn.Module) -> Norm | None:
    """What a module with one vector of weights computes, if that is a norm over the last axis.

    >>> import torch
    >>> recognized_norm(torch.nn.RMSNorm(8, eps=1e-6))
    Norm(centered=False, shift=0.0, epsilon=1e-06)
    """
    import torch

    parameters = dict(module.named_parameters())
    weight = parameters.get("weight")
    if len(parameters) != 1 or weight is None or weight.dim() != 1 or any(module.children()):
        return None
    width, random = weight.shape[0], torch.Generator().manual_seed(0)
    probe = copy.copy(module)  # with weights of its own: those of a new model are all one, or not there yet
    weights = torch.randn(width, generator=random).abs() + 0.5
    probe._parameters = {**module._parameters, "weight": torch.nn.Parameter(weights, requires_grad=False)}
    x = torch.randn(2, 3, width, generator=random)
    x[:, 0] *= 1e-3
    alternating = torch.tensor([1e-8, -1e-8]).repeat(width)[:width]
    try:
        with torch.no_grad():
            result, tiny = probe(x), probe(alternating[None, None])
            for centered, shift in ((False, 0.0), (False, 1.0), (True, 0.0)):
                scale = (alternating * (weights + shift) / tiny)[0, 0, 0]
                norm = Norm(centered, shift, float(f"{float(scale) ** 2:.4g}"))
                if torch.allclose(result, _norm(x, weights, norm), rtol=1e-4, atol=1e-6):
                    return norm
    except FAILURES:
        pass
    return None


def _norm(x: torch.Tensor, weight: torch.Tensor, norm: Norm) -> torch.Tensor:
    if norm.centered:
        x = x - x.mean(-1, keepdim=True)
    return x * (x.pow(2).mean(-1, keepdim=True) + norm.epsilon).rsqrt() * (weight + norm.shift)


def _normalizing(module: torch.nn.Module, norm: Norm) -> Callable[..., torch.Tensor]:
    """The forward of a norm as one operator."""
    import torch

    original = module.forward
    operator, version = ("LayerNormalization", 17) if norm.centered else ("RMSNormalization", SINCE)

    def forward(x: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        if rest or options:
            return original(x, *rest, **options)  # type: ignore[no-any-return]
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        return torch.onnx.ops.symbolic(
            operator,
            (x, weight + norm.shift if norm.shift else weight),
            {"axis": -1, "epsilon": norm.epsilon},
            dtype=x.dtype,
            shape=x.shape,
            version=version,
        )

    return forward


# --- rotary embeddings ---------------------------------------------------------------------------------------------


class Rotary(NamedTuple):
    """What is rotated together, how cosines are laid out, and whether those for a part of a head rotate that part."""

    rotated: Layout
    cosines: Layout | Literal["once"]  # once, or twice: as halves or as neighbours
    partial: bool = False


class Rotation(NamedTuple):
    """A rotated tensor's origin, for those that want it in another layout: [batch, heads, tokens, size]."""

    source: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    rotary: Rotary

    def of_merged(self, merged: torch.Tensor) -> torch.Tensor:
        """Rotate [batch, tokens, heads x size]."""
        return _rotation(merged, self, num_heads=self.source.shape[1])


ROTATION = "_edgeprof_rotation"
"""The attribute of a rotated tensor that holds its `Rotation`."""

HALF = "_edgeprof_half"
"""The attribute of a table of cosines or sines that holds each of them once."""


def recognized_rotary(rotate: Callable[..., Any]) -> Rotary | None:
    """What a function (query, key, cos, sin) -> (query, key) rotates, if the operator can."""
    import torch

    random = torch.Generator().manual_seed(0)
    angles = torch.randn(2, 3, 4, generator=random)
    for cosines, rotated in product(("halves", "pairs", "once"), ("halves", "pairs")):
        rotary = Rotary(rotated, cosines)  # type: ignore[arg-type]
        if _rotates(rotate, rotary, angles, size=8):
            return rotary._replace(partial=_rotates(rotate, rotary, angles, size=12))
    return None


def _rotates(rotate: Callable[..., Any], rotary: Rotary, angles: torch.Tensor, size: int) -> bool:
    """Whether a function rotates the beginning of heads of some size like this."""
    import torch

    random = torch.Generator().manual_seed(1)
    parts = [torch.randn(2, heads, 3, size, generator=random) for heads in (4, 2)]
    width = 2 * angles.shape[-1]
    try:
        with torch.no_grad():
            results = rotate(*parts, *(_laid_out(table, rotary.cosines) for table in (angles.cos(), angles.sin())))
            for part, result in zip(parts, results, strict=True):
                turned = _rotate(part[..., :width], angles.cos(), angles.sin(), rotary.rotated)
                if not torch.allclose(result, torch.cat((turned, part[..., width:]), -1), atol=1e-6):
                    return False
    except FAILURES:
        return False
    return True


def _laid_out(part: torch.Tensor, layout: str) -> torch.Tensor:
    import torch

    match layout:
        case "halves":
            return torch.cat((part, part), -1)
        case "pairs":
            return part.repeat_interleave(2, -1)
    return part


def _once(part: torch.Tensor, layout: str) -> torch.Tensor:
    """The reverse of `_laid_out`, computed once for all layers."""
    half: torch.Tensor | None = getattr(part, HALF, None)
    if half is None:
        half = {"halves": part[..., : part.shape[-1] // 2], "pairs": part[..., ::2], "once": part}[layout]
        setattr(part, HALF, half)
    return half


def _rotate(part: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, layout: Layout) -> torch.Tensor:
    import torch

    cos, sin = cos[:, None], sin[:, None]
    if layout == "halves":
        first, second = part.chunk(2, -1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    first, second = part[..., ::2], part[..., 1::2]
    return torch.stack((first * cos - second * sin, second * cos + first * sin), -1).flatten(-2)


def _rotating(original: Callable[..., Any], rotary: Rotary) -> Callable[..., Any]:
    """The function that rotates queries and keys, as one operator each."""
    signature = inspect.signature(original)

    @wraps(original)
    def rotate(
        query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *rest: Any, **options: Any
    ) -> Any:
        bound = signature.bind(query, key, cos, sin, *rest, **options)
        bound.apply_defaults()
        heads_first = bound.arguments.get("unsqueeze_dim", 1) == 1
        if not (heads_first and query.dim() == 4 and cos.dim() == 3 and _fits(query, key, cos, rotary)):
            return original(query, key, cos, sin, *rest, **options)
        return tuple(_rotated(part, cos, sin, rotary) for part in (query, key))

    return rotate


def _fits(query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, rotary: Rotary) -> bool:
    """Whether cosines are for all of a head, or for a part of it where such a part is rotated."""
    size, width = query.shape[3], cos.shape[2] * (2 if rotary.cosines == "once" else 1)
    return key.shape[3] == size and (width == size or (rotary.partial and width < size))


def _rotated(part: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    rotation = Rotation(part, _once(cos, rotary.cosines), _once(sin, rotary.cosines), rotary)
    result = _rotation(part, rotation)
    setattr(result, ROTATION, rotation)
    return result


def _rotation(part: torch.Tensor, rotation: Rotation, **attributes: int) -> torch.Tensor:
    import torch

    width = 2 * rotation.cos.shape[2]
    rotated_part = {"rotary_embedding_dim": width} if width < rotation.source.shape[3] else {}
    return torch.onnx.ops.symbolic(
        "RotaryEmbedding",
        (part, rotation.cos, rotation.sin),
        {"interleaved": int(rotation.rotary.rotated == "pairs"), **rotated_part, **attributes},
        dtype=part.dtype,
        shape=part.shape,
        version=SINCE,
    )
