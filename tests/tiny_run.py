"""A run of a few hundred short texts whose targets are already stored: everything that distillation needs, no teacher asked."""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray import layout
from mtd_ray.config import Recipe, fingerprint, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.corpus.manifest import SHARD_SCHEMA, content_hash
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part, write_teacher_description
from tests.tiny_models import WORDS, sentences

TEACHERS = {
    "alpha": {"provider": "openai", "model": "alpha", "dimensions": 12},
    "beta": {"provider": "openai", "model": "beta", "dimensions": 4, "weight": 0.5},
}
ALL_LOSSES = {"cosine": 10.0, "similarity": 200.0, "ranking": 20.0}


def tiny_recipe(store: ObjectStore, model: str, **changes: Any) -> Recipe:
    """Two stages: a head, then everything with a second head; ``changes`` replace top-level keys."""
    tree: dict[str, Any] = {
        "name": "tiny",
        "storage": {"url": store.url},
        "corpus": {"source": {"format": "jsonl", "path": "/nowhere"}},
        "teachers": TEACHERS,
        "harvest": {"part_rows": 16},
        "student": {"model": model, "heads": [16, 8], "max_tokens": 32},
        "stages": [
            {"name": "head", "trainable": "heads", "heads": {16: ALL_LOSSES}, "lr": 1e-2, "steps": 6, "batch_size": 8},
            {
                "name": "all",
                "heads": {16: ALL_LOSSES, 8: {"similarity": 200.0, "ranking": 20.0}},
                "lr": 1e-3,
                "steps": 10,
                "batch_size": 8,
                "warmup_steps": 2,
            },
        ],
        "train": {"workers": 2, "num_cpus": 0.5, "checkpoint_every": 4, "log_every": 2},
    }
    return Recipe.model_validate_json(json.dumps(tree | changes))


def store_run(store: ObjectStore, recipe: Recipe, *, rows: int = 120, failed: Mapping[str, set[int]] | None = None) -> Manifest:
    """Write a corpus of three shards and every teacher's targets; ``failed`` names corpus rows a teacher has no vector for."""
    texts = sentences(rows)
    corpus = fingerprint(texts)
    bounds = np.linspace(0, rows, 4).astype(int)
    shards = []
    for index, (begin, end) in enumerate(pairwise(bounds)):
        ids = [f"text-{row}" for row in range(begin, end)]
        table = pa.table([ids, texts[begin:end], ["passage"] * len(ids)], schema=SHARD_SCHEMA)
        key = layout.corpus_shard(corpus, index)
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer)
        store.put(key, buffer.getvalue().to_pybytes())
        shards.append(Shard(index, key, len(ids), content_hash(table)))
    manifest = Manifest(corpus, tuple(shards), {"kept": rows}, {})
    for name in recipe.teachers:
        store_targets(store, recipe, manifest, name, texts, bounds, (failed or {}).get(name, set()))
    return manifest


def store_targets(
    store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str, texts: list[str], bounds: np.ndarray, failed: set[int]
) -> None:
    """One teacher's targets of every part."""
    teacher = recipe.teachers[name]
    digest = teacher_fingerprint(teacher)
    part_rows = write_teacher_description(store, digest, {"model": teacher.model}, recipe.harvest.part_rows)
    vectors = synthetic_vectors(texts, teacher.dimensions, seed=len(name))
    for part in parts_of(manifest, part_rows):
        rows = range(bounds[part.shard.index] + part.start, bounds[part.shard.index] + part.stop)
        missing = {index: "refused" for index, row in enumerate(rows) if row in failed}
        block = vectors[list(rows)].copy()
        block[list(missing)] = 0
        write_part(store, digest, part, [f"text-{row}" for row in rows], block, missing, tokens=1, requests=1, seconds=0.1)


def synthetic_vectors(texts: list[str], dimensions: int, seed: int) -> np.ndarray:
    """A random direction per word, added up: targets that a student can learn. ``(rows, dimensions)`` float32 unit rows."""
    directions = np.random.default_rng(seed).normal(size=(len(WORDS) + 1, dimensions)).astype(np.float32)
    known = {word: number for number, word in enumerate(WORDS)}
    vectors = np.stack([sum(directions[known.get(word, len(WORDS))] for word in text.split()) for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
