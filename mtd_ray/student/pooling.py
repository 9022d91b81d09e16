"""Token states → one vector per text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["mean", "last", "cls"]


def pool(states: Tensor, attention_mask: Tensor, how: Pooling) -> Tensor:
    """Pool token states, wherever the padding stands.

    Args:
        states: ``(batch, length, hidden)``, any float type.
        attention_mask: ``(batch, length)``, 1 for a token and 0 for padding; every row has at least one token.
        how: ``mean`` of the tokens, the ``last`` token, or ``cls``, the first one.

    Returns:
        ``(batch, hidden)`` float32.
    """
    if how == "mean":
        weights = attention_mask.unsqueeze(-1).float()
        return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)
    first = attention_mask.argmax(dim=1)
    last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(dim=1)
    position = first if how == "cls" else last
    return states[torch.arange(len(states), device=states.device), position].float()
