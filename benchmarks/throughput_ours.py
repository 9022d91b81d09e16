"""This engine's side of the training benchmark: the loop that every worker of a run executes, on stored texts and targets."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.objects import ObjectStore

BATCH, MAX_TOKENS, LAYERS, DIMENSIONS = 64, 128, (0, 2, 5), 768
HEADS: dict[str, dict[int, dict[str, float]]] = {
    "cosine": {DIMENSIONS: {"cosine": 1.0}},
    "full": {
        DIMENSIONS: {"cosine": 10.0, "similarity": 200.0, "ranking": 20.0},
        **{size: {"similarity": 200.0, "ranking": 20.0} for size in (384, 256, 128)},
    },
}


@dataclass(frozen=True)
class Speed:
    """Samples per second of the whole loop, the share of them that was padding, and of the time that was waiting for data."""

    samples_per_s: float
    padding_share: float | None = None
    wait_share: float | None = None


def recipe_for(folder: Path, model: Path, heads: str, *, steps: int, length_window: int) -> Recipe:
    """A recipe of one stage without evaluation; everything lies in ``folder``."""
    tree: dict[str, Any] = {
        "name": heads,
        "storage": {"url": folder.as_uri()},
        "corpus": {"source": {"format": "parquet", "path": str(folder / "texts.parquet"), "kind": "sentence"}},
        "teachers": {"teacher": {"provider": "local", "model": str(model), "dimensions": DIMENSIONS}},
        "student": {"model": str(model), "layers": LAYERS, "max_tokens": MAX_TOKENS, "heads": list(HEADS[heads])},
        "stages": [{"name": "all", "heads": HEADS[heads], "lr": 1e-4, "steps": steps, "batch_size": BATCH}],
        "train": {"length_window": length_window, "log_every": length_window, "zero_stage": 0},
        "evaluate": {"heldout": False},
    }
    return Recipe.model_validate_json(json.dumps(tree))


def ours(recipe: Recipe, manifest: Manifest, threads: int) -> Speed:
    """Train in this process; the first window of batches is a warm-up."""
    torch.set_num_threads(threads)
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", TOKENIZERS_PARALLELISM="false")
    told: list[tuple[float, StepMetrics]] = []
    with tempfile.TemporaryDirectory() as name:
        dist.init_process_group("gloo", init_method=f"file://{name}/rendezvous", rank=0, world_size=1)
        train(
            TrainingJob(ObjectStore(recipe.storage.url), recipe, manifest),
            lambda metrics: told.append((time.perf_counter(), metrics)),
        )
        dist.destroy_process_group()
    rows = (told[-1][1].step - told[0][1].step) * BATCH
    measured = [metrics for _, metrics in told[1:]]
    return Speed(
        rows / (told[-1][0] - told[0][0]),
        float(np.mean([metrics.padding_share for metrics in measured])),
        float(np.mean([metrics.wait_share for metrics in measured])),
    )
