"""The training loop in processes of its own, forked from one that has imported it all: a few steps take little time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mtd_ray.distill.checkpoints.preemption import notice_sigterm
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.numbers.metrics import StepMetrics

Signals = dict[tuple[str, int], int]


def train_in_processes(job: TrainingJob, workers: int, signals: Signals | None = None) -> None:
    """Train to the end.

    Args:
        signals: by stage and step, what worker 0 sends itself after that step.

    Raises:
        ProcessException: a worker died or raised.
    """
    os.environ |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    mp.get_context("forkserver").set_forkserver_preload(["tests.training_processes", "deepspeed"])
    rendezvous = f"file://{job.store.url}/rendezvous-{time.monotonic_ns()}"
    mp.start_processes(_work, (workers, rendezvous, job, signals or {}), nprocs=workers, start_method="forkserver")  # type: ignore[no-untyped-call]


def _work(rank: int, workers: int, rendezvous: str, job: TrainingJob, signals: Signals) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(workers), LOCAL_RANK=str(rank))
    notice_sigterm()
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)
    train(job, _sender(signals))
    dist.destroy_process_group()


def _sender(signals: Signals) -> Callable[[StepMetrics], Any]:
    def report(metrics: StepMetrics) -> None:
        number = signals.get((metrics.stage, metrics.step))
        if number is not None:
            os.kill(os.getpid(), signal.Signals(number))

    return report
