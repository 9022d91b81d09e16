"""Checkpoints of a student of three numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.checkpoints.writer import CheckpointWriter
from mtd_ray.objects import ObjectStore


class TinyEngine:
    """Has a state like an engine's."""

    def __init__(self, value: float) -> None:
        self.value = value

    def weights(self) -> dict[str, Tensor]:
        return {"weight": torch.full((1, 2), self.value), "bias": torch.zeros(1)}

    def optimizer_state(self) -> dict[str, Tensor]:
        return {"updates": torch.tensor(self.value), "exp_avg/0/weight": torch.zeros(2)}


def begin(writer: CheckpointWriter, position: Position, *, resumable: bool = True) -> None:
    """Start a checkpoint whose weights are its step's number."""
    writer.save(position, TinyEngine(position.step), seconds=1.5, corpus="these texts", resumable=resumable)


def committed(store: ObjectStore, position: Position, *, resumable: bool = True, keep: int = 9) -> None:
    """A checkpoint of the run ``run`` that is there when this returns."""
    writer = CheckpointWriter(store, "run", keep=keep)
    begin(writer, position, resumable=resumable)
    writer.finish()
