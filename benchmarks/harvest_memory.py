"""Does the memory of a harvest's driver, or of Ray's object store, grow with the number of rows? And how fast is it to resume?

Three local teachers, static embedding models of a few kilobytes, harvest a corpus of few rows and then one of many into a local
folder, on a private cluster. Every harvest has a driver process of its own; while it harvests, its resident memory and the
cluster's use of the object store are sampled. Growth is the difference of the two peaks. Shards and parts have the sizes that a
recipe has by default. At last the large harvest, by then finished, is resumed: in the local folder, and from the sandbox's S3
server, which holds a copy of all but the vectors, which a resumed harvest does not read. Driver and workers are what
``jobs/harvest.py`` uses; only the texts are made up.

`rows_per_second` = rows × teachers / seconds of the large harvest. `resume_seconds_at_1m_rows` and `s3_resume_seconds_at_1m_rows`
are those of as many rows as `--many` says. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from mtd_ray import layout
from mtd_ray.config import CorpusConfig, HarvestConfig, Recipe, fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.corpus.manifest import SHARD_SCHEMA, content_hash
from mtd_ray.harvest import harvest
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.ray_cluster import RayCluster

WORDS = [f"{first}{last}" for first in "bdfgklmnprst" for last in ("ar", "el", "im", "on", "ust")]
SIZES = (32, 24, 16)
SHARD_ROWS: int = CorpusConfig.model_fields["shard_rows"].default
PART_ROWS: int = HarvestConfig.model_fields["part_rows"].default
SAMPLE_S = 0.1
MB = 1024 * 1024


def static_model(folder: Path, size: int) -> None:
    """A sentence-transformers folder: a table of vectors, one per word, and their mean as a text's vector."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    table = torch.randn(len(WORDS) + 1, size)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=table), Normalize()], device="cpu").save(
        str(folder), create_model_card=False
    )


def text_of(row: int) -> str:
    """Six words and the row's number: no two texts are the same."""
    return " ".join(WORDS[row * prime % len(WORDS)] for prime in (1, 7, 13, 29, 37, 43)) + f" {row}"


def write_corpus(store: ObjectStore, rows: int, shard_rows: int) -> None:
    """Shards of so many texts, and their manifest, as ``build_corpus`` would leave them."""
    corpus = fingerprint({"rows": rows})
    shards = []
    for index, start in enumerate(range(0, rows, shard_rows)):
        numbers = range(start, min(start + shard_rows, rows))
        columns = [[f"{row:024x}" for row in numbers], [text_of(row) for row in numbers], ["passage"] * len(numbers)]
        table = pa.table(columns, schema=SHARD_SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        key = layout.corpus_shard(corpus, index)
        store.put(key, bytes(sink.getvalue()))
        shards.append(Shard(index, key, len(numbers), content_hash(table)))
    manifest = Manifest(corpus, tuple(shards), {"read": rows, "kept": rows}, {})
    store.put(layout.corpus_manifest(corpus), manifest.to_json())


def copy_all_but_vectors(source: ObjectStore, target: ObjectStore) -> None:
    keys = [info.key for info in source.list() if "/data/" not in info.key]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: target.put(key, source.get(key)), keys))


def recipe_for(store: ObjectStore, models: str, part_rows: int) -> Recipe:
    local = {"provider": "local", "max_tokens": 64, "num_cpus": 1.0}
    teachers = {f"size-{size}": local | {"model": f"{models}/{size}", "dimensions": size} for size in SIZES}
    return Recipe.model_validate(
        {
            "name": "memory",
            "storage": {"url": store.url, "endpoint": store.endpoint},
            "corpus": {"source": {"format": "docstrings"}},
            "teachers": teachers,
            "harvest": {"part_rows": part_rows},
            "student": {"model": "none", "heads": (SIZES[0],)},
            "stages": ({"name": "one", "heads": {SIZES[0]: {"cosine": 1.0}}, "lr": 1e-4, "steps": 1, "batch_size": 2},),
        }
    )


class Peaks:
    """Samples this process's resident memory and the cluster's use of the object store while the block runs; bytes."""

    def __init__(self) -> None:
        self.before = self._resident()
        self.driver = self.before
        self.object_store = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        whole = ray.cluster_resources()["object_store_memory"]
        while not self._over.wait(SAMPLE_S):
            self.driver = max(self.driver, self._resident())
            # Ray leaves a resource out of the list of what is available when nothing of it is.
            self.object_store = max(self.object_store, whole - ray.available_resources().get("object_store_memory", 0.0))

    @staticmethod
    def _resident() -> int:
        return int(psutil.Process().memory_info().rss)


def drive(store_url: str, endpoint: str | None, models: str, rows: int, part_rows: int) -> dict[str, Any]:
    """Body of a driver process: harvest what is not there yet."""
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    store = ObjectStore(store_url, endpoint=endpoint)
    key = layout.corpus_manifest(fingerprint({"rows": rows}))
    manifest = Manifest.from_json(store.get(key), key)
    recipe = recipe_for(store, models, part_rows)
    with Peaks() as peaks:
        started = time.perf_counter()
        receipts = harvest(store, recipe, manifest)
        seconds = time.perf_counter() - started
    if any(receipt.rows != rows or receipt.failed_rows for receipt in receipts.values()):
        raise SystemExit(f"not everything was harvested: {receipts}")
    return {
        "seconds": round(seconds, 2),
        "parts": sum(receipt.parts for receipt in receipts.values()),
        "already_there": all(receipt.parts == receipt.parts_already_there for receipt in receipts.values()),
        "driver_before_mb": round(peaks.before / MB, 1),
        "driver_peak_mb": round(peaks.driver / MB, 1),
        "object_store_peak_mb": round(peaks.object_store / MB, 1),
    }


def run_driver(cluster: RayCluster, store: ObjectStore, models: str, rows: int, part_rows: int) -> dict[str, Any]:
    """One harvest in a process of its own."""
    job = json.dumps([store.url, store.endpoint, models, rows, part_rows])
    environment = os.environ | cluster.env | {"RAY_ADDRESS": cluster.address}
    command = [sys.executable, __file__, "--drive", job]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{store.url.partition(':')[0]}: {rows:>9,} rows × {len(SIZES)} teachers: {json.dumps(found)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10_000, metavar="ROWS")
    parser.add_argument("--many", type=int, default=1_000_000, metavar="ROWS")
    parser.add_argument("--part-rows", type=int, default=PART_ROWS)
    parser.add_argument("--shard-rows", type=int, default=SHARD_ROWS)
    parser.add_argument("--drive", metavar="JSON", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        print(json.dumps(drive(*json.loads(given.drive))))
        return
    with tempfile.TemporaryDirectory() as temporary, RayCluster(num_cpus=len(SIZES) + 1) as cluster:
        store = ObjectStore((Path(temporary) / "store").as_uri())
        models = Path(temporary) / "models"
        for size in SIZES:
            static_model(models / str(size), size)
        for rows in (given.few, given.many):
            write_corpus(store, rows, given.shard_rows)

        def run(store: ObjectStore, rows: int) -> dict[str, Any]:
            return run_driver(cluster, store, str(models), rows, given.part_rows)

        few, many, again = run(store, given.few), run(store, given.many), run(store, given.many)
        with ObjectServer(Path(temporary) / "s3") as server:
            os.environ.update(server.env)
            copy = ObjectStore(f"s3://{server.bucket}/memory", endpoint=server.endpoint)
            copy_all_but_vectors(store, copy)
            again_s3 = run(copy, given.many)
    if not (again["already_there"] and again_s3["already_there"]):
        raise SystemExit("the finished harvest asked teachers again")
    record = {
        "benchmark": "harvest_memory",
        "rows": [given.few, given.many],
        "teachers": len(SIZES),
        "part_rows": given.part_rows,
        "shard_rows": given.shard_rows,
        "parts": many["parts"],
        "driver_growth_mb": round(many["driver_peak_mb"] - few["driver_peak_mb"], 1),
        "object_store_growth_mb": round(many["object_store_peak_mb"] - few["object_store_peak_mb"], 1),
        "rows_per_second": round(len(SIZES) * given.many / many["seconds"]),
        "resume_seconds_at_1m_rows": round(again["seconds"], 2),
        "s3_resume_seconds_at_1m_rows": round(again_s3["seconds"], 2),
        "runs": {"few": few, "many": many, "resumed": again, "resumed_s3": again_s3},
    }
    print((__doc__ or "").split("\n\n")[2])
    print(json.dumps(record))


if __name__ == "__main__":
    main()
