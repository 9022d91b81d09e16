"""Learning rate of a step: a pure function, so that a resumed stage needs no scheduler state."""

from __future__ import annotations

import math

from mtd_ray.config import StageConfig


def learning_rate(stage: StageConfig, step: int) -> float:
    """Learning rate of step ``0 … stage.steps − 1``: linear warm-up to ``stage.lr``, then the stage's schedule towards 0."""
    if step < stage.warmup_steps:
        return stage.lr * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(stage.steps - stage.warmup_steps, 1)
    if stage.schedule == "constant":
        return stage.lr
    if stage.schedule == "linear":
        return stage.lr * (1 - done)
    return stage.lr * 0.5 * (1 + math.cos(math.pi * done))
