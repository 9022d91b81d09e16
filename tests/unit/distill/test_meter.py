"""Speed and waste, counted between two readings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.numbers.flops import PassFlops, StepFlops
from mtd_ray.distill.numbers.meter import Meter, memory_gb
from mtd_ray.distill.step import StepResult

CPU = torch.device("cpu")
RESULT = StepResult(2.5, {"16/cosine": 0.5}, 1.0, rows=8, tokens=90, padded_tokens=100, missing=4)


def batch() -> Batch:
    two_teachers = [torch.zeros(8, 4), torch.zeros(8, 2)]
    return Batch([f"text-{row}" for row in range(8)], [], [[1] * 10] * 9, None, [], two_teachers, [])


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def slow_batches(clock: Clock, count: int) -> Iterator[Batch]:
    for _ in range(count):
        clock.now += 0.5
        yield batch()


def run(meter: Meter, clock: Clock, steps: int = 2) -> None:
    for got in meter.timed(slow_batches(clock, steps)):
        clock.now += 1.5
        meter.add(RESULT, got)


def test_rates_and_shares_are_over_the_time_since_the_last_reading() -> None:
    meter = Meter("head", 10, clock=(clock := Clock()))
    run(meter, clock)
    got = meter.read(2, RESULT, 1e-3, CPU)
    assert (got.samples_per_s, got.tokens_per_s) == (4.0, 45.0)
    assert got.padding_share == pytest.approx(0.1)
    assert (got.wait_share, got.seconds_left) == (0.25, 16.0)
    assert got.missing_share == 0.25
    run(meter, clock, steps=1)
    assert meter.read(3, RESULT, 1e-3, CPU).samples_per_s == 4.0


def test_the_share_of_the_peak_is_of_the_models_operations() -> None:
    flops = StepFlops(PassFlops(per_token=2.0), PassFlops(per_token=4.0), heads=10.0)
    meter = Meter("head", 10, flops=flops, peak=1000.0, clock=(clock := Clock()))
    run(meter, clock)
    assert meter.read(2, RESULT, 1e-3, CPU).share_of_peak == pytest.approx(2 * (6 * 90 + 10 * 9) / (4.0 * 1000.0))
    unknown = Meter("head", 10, flops=flops, clock=(clock := Clock()))
    run(unknown, clock)
    assert unknown.read(2, RESULT, 1e-3, CPU).share_of_peak is None


def test_a_stage_that_runs_on_the_trunk_cache_pads_nothing() -> None:
    meter = Meter("head", 10, clock=(clock := Clock()))
    clock.now += 2.0
    cached = replace(RESULT, tokens=0, padded_tokens=0)
    meter.add(cached, batch())
    got = meter.read(1, cached, 1e-3, CPU)
    assert (got.samples_per_s, got.tokens_per_s, got.padding_share) == (4.0, 0.0, 0.0)


def test_what_a_checkpoint_takes_is_told_with_the_next_steps() -> None:
    meter = Meter("head", 10, clock=(clock := Clock()))
    batches = meter.timed(slow_batches(clock, 2))
    meter.add(RESULT, next(batches))
    with meter.saving():
        clock.now += 3.0
    assert meter.read(1, RESULT, 1e-3, CPU).checkpoint_s == 3.0
    meter.add(RESULT, next(batches))
    assert meter.read(2, RESULT, 1e-3, CPU).checkpoint_s == 0.0


def test_what_is_built_before_the_first_batch_is_no_training_time() -> None:
    meter = Meter("head", 10, clock=(clock := Clock()))
    clock.now += 100.0
    run(meter, clock)
    assert meter.read(2, RESULT, 1e-3, CPU).samples_per_s == 4.0


def test_memory_is_the_process_on_a_cpu() -> None:
    assert 0.05 < memory_gb(CPU) < 100


def test_all_workers_count(single_process_group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def three_alike(counts: torch.Tensor, how: dist.ReduceOp.RedOpType) -> None:
        counts *= 3 if how == dist.ReduceOp.SUM else 1

    monkeypatch.setattr(dist, "all_reduce", three_alike)
    flops = StepFlops(PassFlops(per_token=2.0))
    meter = Meter("head", 10, flops=flops, peak=1000.0, clock=(clock := Clock()))
    run(meter, clock)
    got = meter.read(2, RESULT, 1e-3, CPU)
    assert (got.tokens_per_s, got.samples_per_s, got.wait_share) == (135.0, 4.0, 0.25)
    assert got.share_of_peak == pytest.approx(2 * 2 * 90 / (4.0 * 1000.0))
