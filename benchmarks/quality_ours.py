"""This engine's side of the quality benchmark: the recipe quality.yaml, trained by the loop that every worker of a run executes."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
import yaml
from quality_data import TrainingSet

from mtd_ray.config import Recipe, load_recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, build_corpus, read_shard
from mtd_ray.distill import final_student, initial_student
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part, write_teacher_description

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


def store_targets(recipe: Recipe, data: TrainingSet, folder: Path) -> Manifest:
    """Corpus and targets where a harvest would have left them."""
    pq.write_table(pa.table({"text": data.texts}), folder / "texts.parquet")
    store = ObjectStore(recipe.storage.url)
    manifest = build_corpus(store, recipe)
    row_of = {text: row for row, text in enumerate(data.texts)}
    for name, teacher in recipe.teachers.items():
        digest = teacher_fingerprint(teacher)
        part_rows = write_teacher_description(store, digest, {"model": name}, recipe.harvest.part_rows)
        for part in parts_of(manifest, part_rows):
            table = read_shard(store, part.shard).slice(part.start, part.rows)
            vectors = data.targets[name][[row_of[text] for text in table["text"].to_pylist()]].astype("float32")
            write_part(store, digest, part, table["id"].to_pylist(), vectors, {}, tokens=0, requests=0, seconds=0)
    return manifest


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
