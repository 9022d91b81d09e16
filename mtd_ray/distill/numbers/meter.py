"""Speed and waste of training, between two logged steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import psutil
import torch
import torch.distributed as dist

from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.numbers.flops import StepFlops
from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.distill.step import StepResult


class Meter:
    """Counts what this worker does; :meth:`read` adds up all workers.

    Args:
        stage: its name.
        steps: of the stage.
        flops: of a step (:func:`mtd_ray.distill.numbers.flops.step_flops`), and
        peak: what a worker's device can do in a second (:func:`mtd_ray.distill.numbers.peak.peak_flops`); without both, the share
            of the peak is not told.
        clock: gives seconds.
    """

    def __init__(
        self,
        stage: str,
        steps: int,
        *,
        flops: StepFlops | None = None,
        peak: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stage, self._steps, self._clock = stage, steps, clock
        self._flops, self._peak = flops, peak
        self._reset()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time until each arrives is counted as waiting. Counting begins with the first one asked for."""
        self._reset()
        iterator = iter(batches)
        while True:
            asked = self._clock()
            batch = next(iterator, None)
            self._waited += self._clock() - asked
            if batch is None:
                return
            yield batch

    @contextmanager
    def saving(self) -> Iterator[None]:
        """What is done inside holds training up for a checkpoint."""
        began = self._clock()
        yield
        self._saved += self._clock() - began

    def add(self, result: StepResult, batch: Batch) -> None:
        """Count a step and its batch."""
        self._counted += 1
        self._rows += result.rows
        self._targets += result.rows * len(batch.blocks)
        self._missing += result.missing
        self._tokens += result.tokens
        self._padded += result.padded_tokens
        if self._flops is not None:
            self._operations += self._flops.of_batch(batch)

    def read(self, step: int, result: StepResult, learning_rate: float, device: torch.device) -> StepMetrics:
        """Metrics up to this step, counted anew from here. Every worker calls it."""
        seconds = self._clock() - self._began
        tokens, padded, capacity, operations = self._over_workers(
            [self._tokens, self._padded, seconds * (self._peak or 0.0), self._operations], device, dist.ReduceOp.SUM
        )
        waited, memory = self._over_workers([self._waited, memory_gb(device)], device, dist.ReduceOp.MAX)
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
            padding_share=1 - tokens / padded if padded else 0.0,
            wait_share=waited / seconds,
            seconds_left=(self._steps - step) * seconds / max(self._counted, 1),
            missing_share=self._missing / max(self._targets, 1),
            share_of_peak=operations / capacity if capacity and self._flops else None,
            memory_gb=memory,
            checkpoint_s=self._saved,
        )
        self._reset()
        return metrics

    def _over_workers(self, values: list[float], device: torch.device, how: dist.ReduceOp.RedOpType) -> list[float]:
        counts = torch.tensor(values, dtype=torch.float64, device=device)
        if dist.is_initialized():
            dist.all_reduce(counts, how)
        total: list[float] = counts.tolist()
        return total

    def _reset(self) -> None:
        self._began = self._clock()
        self._counted = self._rows = self._targets = self._missing = self._tokens = self._padded = 0
        self._operations = self._waited = self._saved = 0.0


def memory_gb(device: torch.device) -> float:
    """The most that this process has ever held on a GPU, or its present size in a CPU's memory; 10⁹ bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    resident: int = psutil.Process().memory_info().rss
    return resident / 1e9
