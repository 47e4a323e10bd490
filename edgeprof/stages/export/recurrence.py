"""Recurrences of state-space models: `transformers` loops over tokens; a scan can be traced."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    import torch

LOOP = "mamba_selective_scan"
"""Name of the function in modules of `transformers`."""


@contextmanager
def traceable(model: torch.nn.Module) -> Iterator[None]:
    """For the time of a trace, the modules of a model compute recurrences with `selective_scan`."""
    modules = {sys.modules[type(part).__module__] for part in model.modules()}
    patches = [mock.patch.object(module, LOOP, selective_scan) for module in modules if hasattr(module, LOOP)]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def selective_scan(
    hidden_states: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,  # noqa: N803
    B: torch.Tensor,  # noqa: N803
    C: torch.Tensor,  # noqa: N803
    D: torch.Tensor | None = None,  # noqa: N803
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    **_: Any,
) -> Any:
    """The recurrence of Mamba (Gu and Dao 2023, equation 2 with a selective A and B), without past.

    Args:
        hidden_states, dt, z: [batch, width, tokens].
        A: [width, states].
        B, C: [batch, states, tokens].
        D, delta_bias: [width].
        return_last_state: return the state after the last token, too: [batch, width, states].
    """
    import torch
    from torch._higher_order_ops.scan import scan

    if delta_bias is not None:
        dt = dt + delta_bias[..., None]
    if delta_softplus:
        dt = torch.nn.functional.softplus(dt)
    decay = torch.exp(dt.permute(2, 0, 1)[..., None] * A)  # [tokens, batch, width, states]
    added = (dt * hidden_states).permute(2, 0, 1)[..., None] * B.permute(2, 0, 1)[:, :, None]
    read = C.permute(2, 0, 1)[..., None]  # [tokens, batch, states, 1]

    def step(state: torch.Tensor, token: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        decay, added, read = token
        state = decay * state + added
        return state, torch.matmul(state, read)[..., 0]

    last, outputs = scan(step, torch.zeros_like(added[0]), (decay, added, read))
    output = outputs.permute(1, 2, 0)
    if D is not None:
        output = output + hidden_states * D[None, :, None]
    if z is not None:
        output = output * torch.nn.functional.silu(z)
    return (output, last) if return_last_state else output
