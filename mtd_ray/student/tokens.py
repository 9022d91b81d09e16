"""Texts → token ids → padded tensors. Split in two because only the first needs the tokenizer, and a thread does it ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def tokenize(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids per text with the model's special tokens, cut at ``max_tokens``; never empty."""
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=False, return_attention_mask=False)
    # A tokenizer without special tokens gives an empty text no token at all, which nothing can pool.
    return [ids or [_padding_id(tokenizer)] for ids in encoded["input_ids"]]


def pad_tokens(tokenizer: Any, token_ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pad to the longest, on the tokenizer's side.

    Returns:
        ``(batch, length)`` int64 ids, and the attention mask of the same shape.
    """
    length = max(len(ids) for ids in token_ids)
    padded = torch.full((len(token_ids), length), _padding_id(tokenizer), dtype=torch.long)
    mask = torch.zeros_like(padded)
    for row, ids in enumerate(token_ids):
        place = slice(length - len(ids), length) if tokenizer.padding_side == "left" else slice(0, len(ids))
        padded[row, place] = torch.tensor(ids, dtype=torch.long)
        mask[row, place] = 1
    return padded, mask


def _padding_id(tokenizer: Any) -> int:
    """Any token does: padding is masked everywhere."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
