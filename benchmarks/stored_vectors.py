"""Corpus and targets where a harvest would have left them, made of vectors at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, build_corpus, read_shard
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part, write_teacher_description


def store_vectors(recipe: Recipe, texts: list[str], vectors: Mapping[str, np.ndarray[Any, Any]], folder: Path) -> Manifest:
    """Write ``folder``/texts.parquet, which is the recipe's source, build the corpus and commit every teacher's targets.

    Args:
        texts: normalised, each once.
        vectors: per teacher ``(texts, dim)``, any float type.
    """
    pq.write_table(pa.table({"text": texts}), folder / "texts.parquet")
    store = ObjectStore(recipe.storage.url)
    manifest = build_corpus(store, recipe)
    row_of = {text: row for row, text in enumerate(texts)}
    for name, teacher in recipe.teachers.items():
        digest = teacher_fingerprint(teacher)
        part_rows = write_teacher_description(store, digest, {"model": name}, recipe.harvest.part_rows)
        for part in parts_of(manifest, part_rows):
            table = read_shard(store, part.shard).slice(part.start, part.rows)
            block = vectors[name][[row_of[text] for text in table["text"].to_pylist()]].astype(np.float32)
            write_part(store, digest, part, table["id"].to_pylist(), block, {}, tokens=0, requests=0, seconds=0)
    return manifest
