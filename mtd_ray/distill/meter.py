"""Speed and waste of training, between two logged steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.distributed as dist

from mtd_ray.distill.batch import Batch
from mtd_ray.distill.metrics import StepMetrics
from mtd_ray.distill.step import StepResult


class Meter:
    """Counts what this worker does; :meth:`read` adds up all workers.

    Args:
        stage: its name.
        steps: of the stage.
        clock: gives seconds.
    """

    def __init__(self, stage: str, steps: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._stage, self._steps, self._clock = stage, steps, clock
        self._reset()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time until each arrives is counted as waiting."""
        iterator = iter(batches)
        while True:
            asked = self._clock()
            batch = next(iterator, None)
            self._waited += self._clock() - asked
            if batch is None:
                return
            yield batch

    def add(self, result: StepResult) -> None:
        """Count a step."""
        self._counted += 1
        self._rows += result.rows
        self._tokens += result.tokens
        self._padded += result.padded_tokens

    def read(self, step: int, result: StepResult, learning_rate: float, device: torch.device) -> StepMetrics:
        """Metrics up to this step, counted anew from here. Every worker calls it."""
        seconds = self._clock() - self._began
        counts = torch.tensor([self._tokens, self._padded], dtype=torch.int64, device=device)
        if dist.is_initialized():
            dist.all_reduce(counts)
        tokens, padded = counts.tolist()
        metrics = StepMetrics(
            stage=self._stage,
            step=step,
            steps=self._steps,
            loss=result.loss,
            parts=result.parts,
            learning_rate=learning_rate,
            gradient_norm=result.gradient_norm,
            samples_per_s=self._rows / seconds,
            tokens_per_s=tokens / seconds,
            padding_share=1 - tokens / max(padded, 1),
            wait_share=self._waited / seconds,
            seconds_left=(self._steps - step) * seconds / max(self._counted, 1),
        )
        self._reset()
        return metrics

    def _reset(self) -> None:
        self._began = self._clock()
        self._counted = self._rows = self._tokens = self._padded = 0
        self._waited = 0.0
