"""Rows of all workers in one tensor, so that a loss sees the whole batch: vectors with gradient, targets without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def gather_rows(local: Tensor, shares: Sequence[np.ndarray]) -> Tensor:
    """Every worker's rows, in the order of the batch.

    The loss computed from the result is the same on every worker. Each worker back-propagates it into its own rows only, times the
    number of workers: the mean over workers that DeepSpeed takes of the gradients is then the gradient of that one loss. Parameters
    used behind the gather, the heads, get the whole gradient on every worker, and their mean is right as it is.

    Args:
        local: ``(rows of this worker, hidden)``.
        shares: per worker, the positions in the batch of its rows; together a permutation of the batch.

    Returns:
        ``(batch, hidden)``.
    """
    order = _batch_order(shares, local.device)
    if len(shares) == 1:
        return local[order]
    gathered: Tensor = _Gather.apply(local, [len(share) for share in shares])  # type: ignore[no-untyped-call]
    return gathered[order]


def exchange_rows(local: Tensor, owners: Sequence[np.ndarray]) -> Tensor:
    """Every worker's rows, in the order of the batch, without gradient: what only one worker has read reaches all of them.

    Args:
        local: ``(rows of this worker, size)`` of any type, on the device that the process group speaks from.
        owners: per worker, the ascending batch positions of its rows; together a permutation of the batch.

    Returns:
        ``(batch, size)`` of the same type and bits; ``local`` itself with one worker.
    """
    if len(owners) == 1:
        return local
    # As bytes: not every backend sends every type.
    sent = local.detach().contiguous().view(torch.uint8)
    received = _concatenated(sent, [len(rows) for rows in owners])
    return received[_batch_order(owners, local.device)].view(local.dtype)


def largest(value: int, device: torch.device) -> int:
    """The largest of the workers' values; each worker gets it."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    tensor = torch.tensor(value, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor.item())


def _batch_order(positions: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Where in the workers' rows, one after the other, each row of the batch stands."""
    return torch.from_numpy(np.argsort(np.concatenate(positions))).to(device, non_blocking=True)


def _concatenated(local: Tensor, counts: Sequence[int]) -> Tensor:
    """The workers' ``(rows, size)`` one after the other. Collectives want equal shapes; the padding is cut off again."""
    padded = F.pad(local, (0, 0, 0, max(counts) - len(local))).contiguous()
    blocks = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(blocks, padded)
    return torch.cat([block[:count] for block, count in zip(blocks, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """Concatenation over workers of blocks with different numbers of rows."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, counts: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.begin, ctx.rows, ctx.workers = sum(counts[:rank]), counts[rank], len(counts)
        return _concatenated(local, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.begin : ctx.begin + ctx.rows] * ctx.workers, None
