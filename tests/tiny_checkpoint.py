"""Checkpoints of a student of three numbers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
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


def unfinished(store: ObjectStore, position: Position, *, hours: float = 0) -> str:
    """Key of a file of an attempt that has no commit, and that long ago wrote its last."""
    key = f"{layout.checkpoint_attempt('run', position.stage, position.step, 'other')}/weights.safetensors"
    store.put(key, b"")
    aged(store, key, hours)
    return key


def aged(store: ObjectStore, key: str, hours: float) -> None:
    """Make an object of a local folder older than it is."""
    then = time.time() - 3600 * hours
    os.utime(Path(store.url) / key, (then, then))


def scored(store: ObjectStore, position: Position, mean: float) -> dict[str, object]:
    """Give a checkpoint of the run ``run`` a score."""
    score = {"attempt": Checkpoints(store, "run").read(position).attempt, "mean": mean, "scores": {"docs": mean}}
    store.put(layout.checkpoint_score("run", position.stage, position.step), json.dumps(score).encode())
    return score
