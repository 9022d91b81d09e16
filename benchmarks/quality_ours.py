"""This engine's side of the quality benchmark: the recipe quality.yaml, trained by the loop that every worker of a run executes."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import yaml

from mtd_ray.config import Recipe, load_recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill import final_student, initial_student
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore

RECIPE = Path(__file__).with_name("quality.yaml")
HEADS_STEPS: int = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["stages"][0]["steps"]
_WARMUP = 40


def recipe_for(folder: Path, models: Path, *, all_steps: int, length_window: int = 16) -> Recipe:
    """The recipe with its last stage ``all_steps`` long, everything in ``folder``."""
    text = RECIPE.read_text(encoding="utf-8")
    for word, place in (("MODELS", models.resolve()), ("FOLDER", folder), ("TEXTS", folder / "texts.parquet")):
        text = text.replace(word, str(place))
    file = folder / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    warmup = min(_WARMUP, all_steps)
    return load_recipe(
        file, [f"stages.1.steps={all_steps}", f"stages.1.warmup_steps={warmup}", f"train.length_window={length_window}"]
    )


def train_ours(recipe: Recipe, manifest: Manifest, threads: int, into: Path) -> None:
    """Train in this process; ``into`` gets the student, and timing.json: the seconds, and per stage its steps and when it ended."""
    torch.set_num_threads(threads)
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", TOKENIZERS_PARALLELISM="false")
    ends: dict[str, tuple[int, float]] = {}
    began = time.perf_counter()

    def report(metrics: StepMetrics) -> None:
        ends[metrics.stage] = metrics.step, time.perf_counter() - began

    store = ObjectStore(recipe.storage.url)
    with tempfile.TemporaryDirectory() as name:
        dist.init_process_group("gloo", init_method=f"file://{name}/rendezvous", rank=0, world_size=1)
        train(TrainingJob(store, recipe, manifest), report)
        dist.destroy_process_group()
    seconds = time.perf_counter() - began
    export_student(final_student(store, recipe), into / "student", card=None)
    (into / "timing.json").write_text(json.dumps({"seconds": seconds, "stages": ends}))


def export_untrained(recipe: Recipe, into: Path) -> None:
    """The student before its first step; its plain pooled vectors are the baseline."""
    export_student(initial_student(recipe), into, card=None)
