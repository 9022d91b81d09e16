"""Length-sorted batches under a token budget, which shrinks when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice, takewhile
from typing import TypeVar

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from mtd_ray.errors import MtdError

Output = TypeVar("Output")

_GPU_TOKENS = 8192
# On two threads of a CPU batches of 256 tokens take 8 % longer than of 512, and those of 1,024, which fall out of its caches, 3 %
# (benchmarks/encode_throughput.py --batch-tokens).
_CPU_TOKENS, _CPU_TOKENS_PER_THREAD = 512, 256

# What comes as a plain RuntimeError: from torch's allocator on a CPU, from cuBLAS for its workspace, from OpenVINO.
_NO_MEMORY = ("not enough memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Row numbers by falling length; equal lengths keep their order.

    Neighbours have like lengths, so that a batch of them has little padding, and a batch that does not fit into memory fails at
    once rather than at the end.
    """
    return sorted(range(len(lengths)), key=lambda row: -lengths[row])


def fastest_batch(model: SentenceTransformer) -> int:
    """Tokens of the batches that take a model the least time on its device, padding included."""
    if model.device.type != "cpu" or isinstance(model[0], StaticEmbedding):
        return _GPU_TOKENS
    return max(_CPU_TOKENS_PER_THREAD * torch.get_num_threads(), _CPU_TOKENS)


class TokenBudget:
    """At most so many tokens in a batch; halved for good each time a batch does not fit into memory.

    Args:
        tokens: at least 1; a text longer than the budget is a batch of its own.
        on_gpu: whether it is the memory of a GPU.
        packed: texts are not padded to the longest of their batch, so that padding takes nothing of the budget.
    """

    def __init__(self, tokens: int, *, on_gpu: bool = False, packed: bool = False) -> None:
        if tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, not {tokens}")
        self.tokens = tokens
        self._on_gpu = on_gpu
        self._packed = packed

    def batches(self, lengths: Sequence[int], forward: Callable[[list[int]], Output]) -> Iterator[tuple[list[int], Output]]:
        """Run ``forward`` over all rows in the order of :func:`longest_first`; give each batch's rows and what came out.

        Args:
            lengths: tokens per row, special tokens and prompt included.
            forward: row numbers → output. One that runs out of memory is called again for fewer rows.

        Raises:
            MtdError: a text does not fit into memory even alone.
        """
        order, start = longest_first(lengths), 0
        while start < len(order):
            longest = max(lengths[order[start]], 1)
            rows = order[start : start + self._rows(lengths, order, start)]
            output = self._tried(rows, longest, forward)
            if output is None:
                continue
            yield rows, output
            start += len(rows)

    def _rows(self, lengths: Sequence[int], order: Sequence[int], start: int) -> int:
        """How many rows of the order, from ``start`` on, are a batch."""
        if not self._packed:
            return max(self.tokens // max(lengths[order[start]], 1), 1)
        reached = accumulate(lengths[row] for row in islice(order, start, None))
        return max(sum(1 for _ in takewhile(lambda tokens: tokens <= self.tokens, reached)), 1)

    def _tried(self, rows: list[int], longest: int, forward: Callable[[list[int]], Output]) -> Output | None:
        """What ``forward`` gives; None when it ran out of memory and the budget was halved."""
        try:
            return forward(rows)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(rows) == 1:
                raise MtdError(
                    f"a text of {longest} tokens does not fit into memory even alone; lower max_tokens or take a larger machine"
                ) from error
            self.tokens = max(min(self.tokens, len(rows) * longest) // 2, 1)
        # Only here is the failed batch's memory free: the error's traceback held it.
        if self._on_gpu:
            torch.cuda.empty_cache()
        return None


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _NO_MEMORY)
