"""Resources, numerics and bookkeeping of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mtd_ray.config.base import Frozen, PositiveFloat, PositiveInt, Weight


def _whole(gpus: float) -> float:
    if gpus != int(gpus):
        raise ValueError(
            f"{gpus:g} would let training workers share a GPU, over which they cannot talk to each other: write 1, or 0 to "
            "train on CPUs"
        )
    return gpus


class TrainConfig(Frozen):
    """Resources and numerics of training; none of it may change the student beyond float tolerance, except ``dtype``.

    ``num_gpus`` of each worker: 0 trains on CPUs, also on a machine with GPUs; a worker trains on one.
    ``micro_batch_tokens``: a worker embeds at most so many tokens at a time; what a larger batch needs is recomputed, so that the
    batch may be any size.
    ``checkpoint_every`` so many steps, and at the end of each stage; the newest ``keep_checkpoints`` are kept, and the best one.
    ``evaluate_checkpoints`` measures each on the recipe's evaluation pairs while training goes on.
    ``spot: aws`` asks the EC2 metadata service for the notice that a spot machine is about to be taken, and then checkpoints.
    ``trackers``: where the numbers go beside TensorBoard and JSON lines.
    """

    workers: PositiveInt = 1
    num_cpus: PositiveFloat = 1.0
    num_gpus: Annotated[Weight, AfterValidator(_whole)] = 0.0
    zero_stage: Literal[0, 1, 2, 3] = 2
    dtype: Literal["float32", "bfloat16"] = "float32"
    micro_batch_tokens: PositiveInt = 16_384
    shuffle_shards: PositiveInt = 8
    length_window: PositiveInt = 16
    checkpoint_every: PositiveInt | None = None
    keep_checkpoints: PositiveInt = 2
    evaluate_checkpoints: bool = False
    spot: Literal["aws"] | None = None
    trackers: tuple[Literal["wandb", "mlflow", "trackio"], ...] = ()
    max_failures: Annotated[int, Field(ge=0)] = 3
    log_every: PositiveInt = 10
