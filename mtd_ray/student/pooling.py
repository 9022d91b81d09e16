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


def pool_packed(states: Tensor, offsets: Tensor, how: Pooling) -> Tensor:
    """Pool the token states of texts that stand one behind the other, always in the same order of additions.

    Args:
        states: ``(tokens, hidden)``, any float type.
        offsets: ``(texts + 1,)``: text ``i`` is ``states[offsets[i]:offsets[i + 1]]``; no text is empty.
        how: as for :func:`pool`.

    Returns:
        ``(texts, hidden)`` float32.
    """
    if how == "mean":
        # Unchecked: the check would wait for the device.
        return torch.segment_reduce(states.float(), "mean", offsets=offsets, axis=0, unsafe=True)
    return states[offsets[:-1] if how == "cls" else offsets[1:] - 1].float()
