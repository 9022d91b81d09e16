"""Target files against a Parquet ``list<float32>`` zstd file of the same vectors and against plain bytes of the same size: rows/s.

All take turns in this process, the median of the rounds counts, pyarrow has one thread. Reading means ending with a matrix in
memory: ``decode_vectors(store.get(key))`` for ours (float16), the flat values as float32, not cast, for the list. The local
files stay in the page cache; plain bytes are read with ``Path.read_bytes``. Over S3 (the sandbox's server on this machine) plain
bytes are read with ``ObjectStore.get``. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.corpus import Manifest, Shard
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.targets import TargetStore, decode_vectors, encode_vectors, parts_of, write_part, write_teacher_description

TEACHER = "b" * 64
Job = Callable[[], object]


@dataclass(frozen=True)
class Data:
    """One part's vectors, written ``parts`` times, and the shard these parts make up."""

    vectors: npt.NDArray[np.float32]
    ids: list[str]
    parts: int

    @property
    def part_rows(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def shard(self) -> Shard:
        return Shard(0, "corpora/x/shards/00000.parquet", self.parts * self.part_rows, hashlib.sha256(b"shard").hexdigest())


def make_data(part_rows: int, dim: int, parts: int) -> Data:
    vectors = np.random.default_rng(0).standard_normal((part_rows, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Data(vectors, [hashlib.sha256(str(row).encode()).hexdigest()[:32] for row in range(part_rows)], parts)


def encode_list(data: Data) -> bytes:
    offsets = pa.array(np.arange(0, data.vectors.size + 1, data.dim, dtype=np.int32))
    column = pa.ListArray.from_arrays(offsets, pa.array(data.vectors.reshape(-1)))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": data.ids, "vector": column}), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def decode_list(data: bytes, dim: int) -> npt.NDArray[np.float32]:
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    return np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("vector").chunks]).reshape(-1, dim)


def fill(store: ObjectStore, data: Data) -> list[str]:
    """Write the parts through the store's own path, the list files and the plain files; the keys of our data files."""
    write_teacher_description(store, TEACHER, {}, data.part_rows)
    keys = []
    for part in parts_of(Manifest("f" * 64, (data.shard,), {}, {}), data.part_rows):
        commit = write_part(store, TEACHER, part, data.ids, data.vectors, {}, tokens=0, requests=0, seconds=0.0)
        if commit is None:
            raise SystemExit("the store is not empty")
        keys.append(commit.file)
        store.put(f"list/{part.index}", encode_list(data))
        store.put(f"raw/{part.index}", store.get(commit.file))
    return keys


def reads(store: ObjectStore, data: Data, keys: list[str], read_raw: Callable[[str], object]) -> dict[str, Job]:
    targets = TargetStore(store, TEACHER, data.part_rows, data.dim)
    numbers = range(data.parts)
    return {
        "raw_bytes": lambda: [len(read_raw(f"raw/{n}")) for n in numbers],  # type: ignore[arg-type]
        "target_files": lambda: [decode_vectors(store.get(key)).vectors.shape for key in keys],
        "list_float32_zstd": lambda: [decode_list(store.get(f"list/{n}"), data.dim).shape for n in numbers],
        "read_shard": lambda: targets.read_shard(data.shard, data.ids * data.parts),
    }


def writes(store: ObjectStore, data: Data, raw: bytes) -> dict[str, Job]:
    numbers = range(data.parts)
    return {
        "raw_bytes": lambda: [store.put(f"w/raw/{n}", raw) for n in numbers],
        "target_files": lambda: [store.put(f"w/our/{n}", encode_vectors(data.vectors, data.ids, {})) for n in numbers],
        "list_float32_zstd": lambda: [store.put(f"w/list/{n}", encode_list(data)) for n in numbers],
    }


def rows_per_second(jobs: dict[str, Job], rows: int, rounds: int) -> dict[str, float]:
    """Median of the rounds; in every round each job runs once. One round before is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            taken[name].append(time.perf_counter() - started)
    return {name: round(rows / statistics.median(times[1:])) for name, times in taken.items()}


def measure(store: ObjectStore, data: Data, folder: Path | None, rounds: int) -> dict[str, dict[str, float]]:
    keys = fill(store, data)
    matrix = decode_vectors(store.get(keys[0])).vectors
    np.testing.assert_array_equal(matrix, data.vectors.astype(np.float16))
    np.testing.assert_array_equal(decode_list(store.get("list/0"), data.dim), data.vectors)
    read_raw = store.get if folder is None else lambda key: (folder / key).read_bytes()
    rows = data.parts * data.part_rows
    return {
        "read": rows_per_second(reads(store, data, keys, read_raw), rows, rounds),
        "write": rows_per_second(writes(store, data, store.get(keys[0])), rows, rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimensions", type=int, default=12288)
    parser.add_argument("--part-rows", type=int, default=512)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    data = make_data(given.part_rows, given.dimensions, given.parts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "local"
        folder.mkdir()
        local = measure(ObjectStore(folder.as_uri()), data, folder, given.rounds)
        with ObjectServer(Path(temporary) / "s3") as server:
            os.environ.update(server.env)
            s3 = measure(ObjectStore(f"s3://{server.bucket}/bench", endpoint=server.endpoint), data, None, given.rounds)
    read, write = local["read"], local["write"]
    record = {
        "benchmark": "target_store",
        "dimensions": given.dimensions,
        "rows": given.parts * given.part_rows,
        "rounds": given.rounds,
        "rows_per_second": {"local": local, "s3": s3},
        "read_vs_list_float32_zstd": round(read["target_files"] / read["list_float32_zstd"], 2),
        "read_vs_raw_bytes": round(read["target_files"] / read["raw_bytes"], 3),
        "write_vs_list_float32_zstd": round(write["target_files"] / write["list_float32_zstd"], 2),
        "s3_read_vs_list_float32_zstd": round(s3["read"]["target_files"] / s3["read"]["list_float32_zstd"], 2),
        "s3_read_vs_raw_bytes": round(s3["read"]["target_files"] / s3["read"]["raw_bytes"], 3),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
