"""A worker's rows through the backbone, in as many passes as memory and padding ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mtd_ray.distill.gather import largest
from mtd_ray.distill.split import split_tokens
from mtd_ray.student import Student, pad_tokens

_CPU_ROWS = 16


def embed_rows(student: Student, token_ids: Sequence[list[int]], micro_batch_tokens: int) -> tuple[Tensor, int]:
    """Pooled states of a worker's rows.

    Every worker makes the same number of passes, and all of them recompute activations or none does: ZeRO-3 gathers weights in each
    pass, which all workers must do together.

    Args:
        student: whose backbone is used.
        token_ids: per row.
        micro_batch_tokens: above this many padded tokens on any worker, rows are embedded in several passes whose activations are
            recomputed in the backward pass, so that memory does not grow with the batch.

    Returns:
        ``(rows, hidden)`` float32 in the order given, and the number of tokens computed, padding included.
    """
    device = next(student.parameters()).device
    lengths = [len(ids) for ids in token_ids]
    for_memory = largest(len(split_tokens(lengths, micro_batch_tokens)), device)
    # A CPU gains more from less padding and smaller buffers than it loses by further passes; a GPU does not.
    for_padding = largest(len(token_ids) // _CPU_ROWS, device) if device.type == "cpu" else 1
    groups = split_tokens(lengths, micro_batch_tokens, at_least=max(for_memory, for_padding))
    states, computed = [], 0
    for group in groups:
        # A worker with fewer rows than passes makes an idle one, with a row that counts for nothing.
        ids, mask = pad_tokens(student.tokenizer, [token_ids[row] for row in group] or [token_ids[0]])
        computed += ids.numel()
        pooled: Tensor
        if for_memory > 1:
            pooled = checkpoint(student.pool, ids.to(device), mask.to(device), use_reentrant=False)
        else:
            pooled = student.pool(ids.to(device), mask.to(device))
        states.append(pooled if len(group) else pooled[:0] + 0.0 * pooled.sum())
    order = torch.from_numpy(np.argsort(np.concatenate(groups))).to(device)
    return torch.cat(states)[order], computed
