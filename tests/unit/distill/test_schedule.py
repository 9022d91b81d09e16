"""Learning rate by step."""

import pytest

from mtd_ray.config import HeadLosses, StageConfig
from mtd_ray.distill.schedule import learning_rate


def stage(schedule: str, *, warmup: int = 0) -> StageConfig:
    return StageConfig.model_validate(
        {
            "name": "one",
            "heads": {8: HeadLosses(cosine=1.0)},
            "lr": 2.0,
            "steps": 10,
            "batch_size": 2,
            "schedule": schedule,
            "warmup_steps": warmup,
        }
    )


def test_warm_up_rises_in_equal_steps_to_the_full_rate() -> None:
    assert [learning_rate(stage("constant", warmup=4), step) for step in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_a_decay_begins_at_the_full_rate_and_never_reaches_zero_before_the_end(schedule: str, warmup: int) -> None:
    rates = [learning_rate(stage(schedule, warmup=warmup), step) for step in range(warmup, 10)]
    assert rates[0] == 2.0
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.6


def test_a_stage_that_only_warms_up() -> None:
    assert learning_rate(stage("linear", warmup=10), 9) == 2.0
