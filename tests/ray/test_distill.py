"""Distillation on a real Ray cluster: two workers, ZeRO-2, a bidirectional student of the Qwen2 architecture."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.corpus.manifest import PAIRS_SCHEMA, content_hash
from mtd_ray.distill import DistillReceipt, check_alignment, distill, final_student, initial_student
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.distill.checkpoints.evaluator import checkpoints_scored
from mtd_ray.distill.checkpoints.retention import read_scores
from mtd_ray.distill.fusion import TargetSpec, fuse
from mtd_ray.distill.loop import TrainingJob
from mtd_ray.errors import TargetError, TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.ray_cluster import RayCluster
from mtd_ray.student import Student, pad_tokens, tokenize
from tests.tiny_models import sentences, tiny_qwen2
from tests.tiny_run import ALL_LOSSES, TEACHERS, store_run, synthetic_vectors, tiny_recipe

Run = tuple[ObjectStore, Recipe, Manifest, DistillReceipt]

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STAGES = [
    {"name": "head", "trainable": "heads", "heads": {16: ALL_LOSSES}, "lr": 1e-2, "steps": 10, "batch_size": 8},
    {
        "name": "all",
        "heads": {16: ALL_LOSSES, 8: {"similarity": 200.0, "ranking": 20.0}},
        "lr": 3e-3,
        "steps": 60,
        "batch_size": 16,
        "warmup_steps": 5,
    },
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2"))


def prepare(folder: Path, model: str, **changes: object) -> tuple[ObjectStore, Recipe, Manifest]:
    store = ObjectStore(str(folder))
    student = {"model": model, "init": "random", "heads": [16, 8], "max_tokens": 32}
    train = {"workers": 2, "num_cpus": 0.5, "checkpoint_every": 8, "log_every": 2}
    recipe = tiny_recipe(store, model, **({"student": student, "stages": STAGES, "train": train} | changes))
    return store, recipe, store_run(store, recipe)


def metrics(store: ObjectStore, recipe: Recipe) -> list[dict[str, object]]:
    return [json.loads(line) for line in store.get(layout.run_metrics(recipe.run_name)).splitlines()]


def target_agreement(student: Student, recipe: Recipe) -> float:
    """Correlation of the student's and the targets' similarities over texts of the corpus."""
    texts = sentences(120)
    blocks = [torch.from_numpy(synthetic_vectors(texts, int(t["dimensions"]), seed=len(name))) for name, t in TEACHERS.items()]
    target = fuse(TargetSpec.of_teachers(recipe, list(TEACHERS)), blocks, torch.ones(120, 2, dtype=torch.bool)).similarity
    with torch.no_grad():
        pooled = student.pool(*pad_tokens(student.tokenizer, tokenize(student.tokenizer, texts, 32)))
        vectors = torch.nn.functional.normalize(student.project(pooled, [16])[16], dim=1)
    off = ~torch.eye(120, dtype=torch.bool)
    return float(torch.corrcoef(torch.stack([(vectors @ vectors.T)[off], target[off]]))[0, 1])


def with_pairs(store: ObjectStore, manifest: Manifest) -> Manifest:
    """Pairs of a text and its first half."""
    texts = sentences(40)
    table = pa.table({"query": [text[: len(text) // 2] for text in texts], "passage": texts}, schema=PAIRS_SCHEMA)
    key = layout.corpus_pairs(manifest.fingerprint, "halves")
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    store.put(key, buffer.getvalue().to_pybytes())
    return replace(manifest, pairs={"halves": key}, pairs_sha256={"halves": content_hash(table)})


def training_workers(cluster: RayCluster) -> set[int]:
    return {process.pid for process in cluster.processes() if any("RayTrainWorker" in word for word in process.cmdline())}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(ray_cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory, model: str) -> Run:
    store, recipe, manifest = prepare(tmp_path_factory.mktemp("undisturbed"), model)
    with pytest.raises(TrainingError, match="not trained to the end"):
        final_student(store, recipe)
    return store, recipe, manifest, distill(store, recipe, manifest)


def test_training_ends_with_a_better_student_and_is_not_done_twice(undisturbed: Run) -> None:
    store, recipe, manifest, receipt = undisturbed
    assert (receipt.stages, receipt.steps, receipt.already_finished) == (2, 70, False)
    assert target_agreement(final_student(store, recipe), recipe) > target_agreement(initial_student(recipe), recipe) + 0.2

    lines = metrics(store, recipe)
    assert [(line["stage"], line["step"]) for line in lines][-1] == ("all", 60)
    assert {"16/cosine", "8/ranking"} <= set(lines[-1]["parts"])  # type: ignore[call-overload]
    assert any("events" in info.key for info in store.list(layout.run_tensorboard(recipe.run_name)))

    started = time.monotonic()
    again = distill(store, recipe, manifest)
    assert again.already_finished
    assert (again.checkpoint, again.seconds) == (receipt.checkpoint, receipt.seconds)
    assert time.monotonic() - started < 2


def test_a_worker_that_is_warned_and_one_that_is_killed_change_nothing_in_the_end(
    ray_cluster: RayCluster, undisturbed: Run, tmp_path: Path, model: str
) -> None:
    store, recipe, *_ = undisturbed
    expected = final_student(store, recipe).state_dict()

    train = {"workers": 2, "num_cpus": 0.5, "log_every": 2, "checkpoint_every": 1000, "evaluate_checkpoints": True}
    store, recipe, manifest = prepare(tmp_path, model, train=train)
    training = threading.Thread(target=distill, args=(store, recipe, with_pairs(store, manifest)), daemon=True)
    training.start()
    checkpoints = Checkpoints(store, recipe.run_name)
    wait_until(lambda: Position(0, 10) in checkpoints.positions())
    victims = training_workers(ray_cluster)
    assert len(victims) == 2
    os.kill(max(victims), signal.SIGTERM)
    wait_until(lambda: checkpoints.positions()[-1] > Position(0, 10))
    noticed = checkpoints.positions()[-1]
    assert noticed < Position(1, 60), "nothing but the notice calls for a checkpoint here"
    os.kill(min(victims), signal.SIGKILL)
    wait_until(lambda: any(info.key.endswith("/scoring.json") for info in store.list(layout.run_checkpoints(recipe.run_name))))
    training.join(timeout=180)

    got = final_student(store, recipe).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
    logged = Counter((line["stage"], line["step"]) for line in metrics(store, recipe))
    assert set(logged.values()) == {1}
    assert len(logged) == 35
    kept = {info.key.split("/")[3] for info in store.list(layout.run_checkpoints(recipe.run_name))}
    assert {f"01-{noticed.step:08d}", "01-00000060"} <= kept


def test_the_newest_checkpoint_is_scored_by_a_task_beside_training(undisturbed: Run) -> None:
    store, recipe, manifest, _ = undisturbed
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"evaluate_checkpoints": True})})
    told: list[float] = []
    deadline = time.monotonic() + 120
    with checkpoints_scored(TrainingJob(store, recipe, with_pairs(store, manifest)), told.append):
        while not told:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    newest = Checkpoints(store, recipe.run_name).positions()[-1]
    assert read_scores(store, recipe.run_name)[newest]["mean"] == told[0] > 0.3


def test_values_that_are_not_finite_end_the_run_with_one_clear_error(ray_cluster: RayCluster, tmp_path: Path, model: str) -> None:
    stages = [STAGES[0] | {"heads": {16: {"cosine": 3.4e38, "similarity": 3.4e38, "ranking": 3.4e38}}}]
    store, recipe, manifest = prepare(tmp_path, model, stages=stages)
    with pytest.raises(TrainingError, match=r"stage 'head', step 1: the loss is inf.*text-\d+"):
        distill(store, recipe, manifest)


def test_a_local_teacher_is_asked_in_a_task_of_its_own(ray_cluster: RayCluster, tmp_path: Path, model: str) -> None:
    words = {"provider": "local", "model": "package:wordllama", "dimensions": 256, "num_cpus": 0.5}
    store, recipe, manifest = prepare(tmp_path, model, teachers=TEACHERS | {"words": words})
    with pytest.raises(TargetError, match=r"^teacher words, shard 0, row \d+: the stored target is not this text's"):
        check_alignment(store, recipe, manifest)


def test_a_teacher_that_is_not_harvested_to_the_end_is_named_before_anything_starts(tmp_path: Path, model: str) -> None:
    store, recipe, manifest = prepare(tmp_path, model)
    commit = next(info.key for info in store.list("targets") if "/commit/" in info.key)
    store.delete(commit)
    with pytest.raises(TargetError, match=r"teacher (alpha|beta): 1 parts are not harvested"):
        distill(store, recipe, manifest)
