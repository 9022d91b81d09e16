"""Length-sorted batches under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def token_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers grouped so that a batch padded to its longest text holds at most ``batch_tokens`` tokens.

    Rows come longest first: every batch is padded to its first row, neighbours have like lengths, and a batch that does not fit
    into memory fails at once rather than at the end. A text longer than the budget is a batch of its own. Every row appears
    exactly once; equal lengths keep their order.

    Args:
        lengths: tokens per row, special tokens and prompt included.
        batch_tokens: padded tokens per batch, at least 1.
    """
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens must be at least 1, not {batch_tokens}")
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        longest = max(lengths[order[start]], 1)
        rows = max(batch_tokens // longest, 1)
        yield order[start : start + rows]
        start += rows
