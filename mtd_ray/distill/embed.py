"""A worker's rows through the backbone, in as many passes as memory and padding ask for.

Where the device has a kernel for it, the rows of a pass stand in one line without padding; elsewhere, rows of like length are
padded. What one pass cannot hold is embedded in several. Their activations are dropped and computed again in the backward pass (the
gradient cache of arXiv 2101.06983, by means of autograd), except for the last passes, which the backward pass needs first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mtd_ray.distill.data.split import split_tokens
from mtd_ray.distill.gather import largest
from mtd_ray.distill.lookup import one_lookup
from mtd_ray.student import Student, pad_tokens

_CPU_ROWS = 16

TokenIds = Sequence[list[int]]


def embed_rows(student: Student, token_ids: TokenIds, micro_batch_tokens: int) -> tuple[Tensor, int]:
    """Pooled states of a worker's rows.

    Every worker makes the same number of passes and computes as many of them again: ZeRO-3 gathers weights in each, which all
    workers must do together.

    Args:
        student: whose backbone is used.
        token_ids: per row.
        micro_batch_tokens: of one pass, padding included; a longer single row is a pass of its own. Memory does not grow with the
            batch.

    Returns:
        ``(rows, hidden)`` float32 in the order given, and the number of tokens computed, padding included.
    """
    device = next(student.parameters()).device
    plan = _packed_plan if student.packs else _padded_plan
    groups, at_once = plan([len(ids) for ids in token_ids], micro_batch_tokens, device)
    first_kept = len(groups) - _kept_passes(at_once, student.gradient_share)
    run = _packed_pass if student.packs else _padded_pass
    states, computed = [], 0
    with _lookups(student, token_ids, passes=len(groups), again=first_kept > 0):
        for index, group in enumerate(groups):
            # A worker with fewer rows than passes makes an idle one, with a row that counts for nothing.
            rows = [token_ids[row] for row in group] or [token_ids[0]]
            pooled, tokens = run(student, rows, device, index < first_kept)
            computed += tokens
            states.append(pooled if len(group) else pooled[:0] + 0.0 * pooled.sum())
    order = np.argsort(np.concatenate(groups))
    return torch.cat(states)[_on(device, torch.from_numpy(order))], computed


def _lookups(student: Student, token_ids: TokenIds, *, passes: int, again: bool) -> AbstractContextManager[None]:
    """Words are looked up once for all passes; not where a pass computed again will look them up by itself."""
    if passes == 1 or again:
        return nullcontext()
    # Padded, so that the padding token is among them.
    ids, _ = pad_tokens(student.tokenizer, token_ids)
    return one_lookup(student.backbone, ids.to(next(student.parameters()).device))


def pack_tokens(counts: Sequence[int], most: int, *, at_least: int = 1) -> list[np.ndarray]:
    """Cut rows, in the order given, into groups of about equal numbers of tokens.

    Args:
        counts: tokens per row, at least 1.
        most: tokens per group; a longer single row stands alone.
        at_least: number of groups; when there are fewer rows, some are empty.
    """
    ends = np.cumsum(counts)
    groups = max(at_least, len(_cuts(ends, most)))
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if len(_cuts(ends, middle)) <= groups:
            high = middle
        else:
            low = middle + 1
    parts = np.split(np.arange(len(counts)), _cuts(ends, high)[:-1])
    return parts + [np.arange(0)] * (groups - len(parts))


def _cuts(ends: np.ndarray, most: int) -> list[int]:
    """Where each group ends when rows are added to it as long as it has at most ``most`` tokens."""
    cuts: list[int] = []
    while not cuts or cuts[-1] < len(ends):
        begin = cuts[-1] if cuts else 0
        reached = int(ends[begin - 1]) if begin else 0
        cuts.append(max(begin + 1, int(np.searchsorted(ends, reached + most, side="right"))))
    return cuts


def _kept_passes(at_once: int, gradient_share: float) -> int:
    """How many passes' activations are kept: as many as take the memory of one pass with gradients through every layer."""
    return int(at_once / gradient_share) if gradient_share else 2**31


def _packed_plan(counts: Sequence[int], most: int, device: torch.device) -> tuple[list[np.ndarray], int]:
    """Rows of each pass, and how many passes' activations fit into memory at a time."""
    passes = largest(len(pack_tokens(counts, most)), device)
    return pack_tokens(counts, most, at_least=passes), 1


def _padded_plan(counts: Sequence[int], most: int, device: torch.device) -> tuple[list[np.ndarray], int]:
    """As :func:`_packed_plan`. A CPU gains more from less padding and smaller buffers than it loses by further passes."""
    for_memory = largest(len(split_tokens(counts, most)), device)
    for_padding = largest(len(counts) // _CPU_ROWS, device) if device.type == "cpu" else 1
    passes = max(for_memory, for_padding)
    return split_tokens(counts, most, at_least=passes), max(1, passes // for_memory)


def _packed_pass(student: Student, rows: TokenIds, device: torch.device, again: bool) -> tuple[Tensor, int]:
    lengths = [len(ids) for ids in rows]
    ids = torch.from_numpy(np.concatenate([np.asarray(ids, np.int64) for ids in rows]))
    offsets = torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32))
    pooled = _pooled(student.pool_packed, again, _on(device, ids), _on(device, offsets), max(lengths))
    return pooled, sum(lengths)


def _padded_pass(student: Student, rows: TokenIds, device: torch.device, again: bool) -> tuple[Tensor, int]:
    ids, mask = pad_tokens(student.tokenizer, rows)
    return _pooled(student.pool, again, _on(device, ids), _on(device, mask)), ids.numel()


def _pooled(pool: Callable[..., Tensor], again: bool, *inputs: object) -> Tensor:
    """Pooled states of one pass; its activations are computed again in the backward pass, or kept."""
    if not again:
        return pool(*inputs)
    # Nothing is drawn at random in a student.
    pooled: Tensor = checkpoint(pool, *inputs, use_reentrant=False, preserve_rng_state=False)
    return pooled


def _on(device: torch.device, tensor: Tensor) -> Tensor:
    """The tensor on the device; the host does not wait until it is there."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
