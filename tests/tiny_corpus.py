"""A small corpus written straight into a store, and a recipe around it, for tests that harvest."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.corpus.manifest import SHARD_SCHEMA, content_hash
from mtd_ray.objects import ObjectStore

FINGERPRINT = "c0" * 32


def tiny_texts(rows: int) -> list[str]:
    """Different short texts."""
    return [f"row {number} tells of topic {number % 7} in {number * 31 % 97} words" for number in range(rows)]


def write_corpus(store: ObjectStore, texts: Sequence[str], shard_rows: int) -> Manifest:
    """Shards of the texts, all passages; ids are ``t0``, ``t1``, …"""
    shards = []
    for index, start in enumerate(range(0, len(texts), shard_rows)):
        rows = range(start, min(start + shard_rows, len(texts)))
        columns = [[f"t{row}" for row in rows], [texts[row] for row in rows], ["passage" for _ in rows]]
        table = pa.table(dict(zip(SHARD_SCHEMA.names, columns, strict=True)), schema=SHARD_SCHEMA)
        sink = io.BytesIO()
        pq.write_table(table, sink)
        key = layout.corpus_shard(FINGERPRINT, index)
        store.put(key, sink.getvalue())
        shards.append(Shard(index, key, len(rows), content_hash(table)))
    return Manifest(FINGERPRINT, tuple(shards), {"read": len(texts), "kept": len(texts)}, {})


def tiny_recipe(store: ObjectStore, teachers: dict[str, dict[str, Any]], **harvest: Any) -> Recipe:
    """A recipe with these teachers; only its storage, teachers and harvest mean anything."""
    size = sum(teacher["dimensions"] for teacher in teachers.values())
    return Recipe.model_validate(
        {
            "name": "tiny",
            "storage": {"url": store.url},
            "corpus": {"source": {"format": "docstrings"}},
            "teachers": teachers,
            "harvest": harvest,
            "student": {"model": "none", "heads": (size,)},
            "stages": ({"name": "one", "heads": {size: {"cosine": 1.0}}, "lr": 1e-4, "steps": 1, "batch_size": 2},),
        }
    )
