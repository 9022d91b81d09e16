"""Target files against a Parquet ``list<float32>`` zstd file of the same vectors and against plain bytes of the same size: rows/s.

All take turns in this process, one thread each except ``verified_shard``; the median of the rounds counts. PyTorch is loaded, as in
a worker of a local teacher. The local files stay in the page cache; plain bytes are read with ``Path.read_bytes``. Over S3 (the
sandbox's server on this machine) everything is read with ``ObjectStore.find_view``, which copies nothing.

Reading ends with a matrix in memory. ``verified_parts`` is the product's path: find the part's commit, read, compare size, ids and
digest, a float16 matrix. ``list_float32_zstd`` gives flat float32 values, unverified; its columns are written without dictionaries,
which only cost where no value repeats, and ``list_float32_zstd_default`` with them, as PyArrow does unless told. Each part is
dropped before the next, except in ``raw_bytes_shard`` and ``verified_shard``, which end with all parts in memory (bytes; one
matrix). Writing is to new keys. ``committed_parts`` is the product's path: check, convert, write, both digests, commit. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mtd_ray.corpus import Shard
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.targets import (
    Part,
    PartCommit,
    TargetStore,
    decode_vectors,
    encode_vectors,
    parts_of_shard,
    write_part,
    write_teacher_description,
)

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
    def all_parts(self) -> list[Part]:
        return parts_of_shard(self.shard, self.part_rows)

    @property
    def shard(self) -> Shard:
        return Shard(0, "corpora/x/shards/00000.parquet", self.parts * self.part_rows, hashlib.sha256(b"shard").hexdigest())


def make_data(part_rows: int, dim: int, parts: int) -> Data:
    vectors = np.random.default_rng(0).standard_normal((part_rows, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Data(vectors, [hashlib.sha256(str(row).encode()).hexdigest()[:32] for row in range(part_rows)], parts)


def encode_list(data: Data, *, dictionaries: bool = False) -> bytes:
    offsets = pa.array(np.arange(0, data.vectors.size + 1, data.dim, dtype=np.int32))
    column = pa.ListArray.from_arrays(offsets, pa.array(data.vectors.reshape(-1)))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": data.ids, "vector": column}), sink, compression="zstd", use_dictionary=dictionaries)
    return bytes(sink.getvalue())


def decode_list(data: memoryview, dim: int) -> npt.NDArray[np.float32]:
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    values = [chunk.flatten().to_numpy() for chunk in table.column("vector").chunks]
    # Concatenating copies, also a single one.
    return (values[0] if len(values) == 1 else np.concatenate(values)).reshape(-1, dim)


def view(store: ObjectStore, key: str) -> memoryview:
    found = store.find_view(key)
    if found is None:
        raise SystemExit(f"{key} is not there")
    return found


def fill(store: ObjectStore, data: Data) -> list[str]:
    """Write the parts through the store's own path, the list files and the plain files; the keys of our data files."""
    write_teacher_description(store, TEACHER, {}, data.part_rows)
    keys = []
    for part in data.all_parts:
        commit = write(store, data, part, TEACHER)
        keys.append(commit.file)
        store.put(f"list/{part.index}", encode_list(data))
        store.put(f"list-default/{part.index}", encode_list(data, dictionaries=True))
        store.put(f"raw/{part.index}", store.get(commit.file))
    return keys


def write(store: ObjectStore, data: Data, part: Part, teacher: str) -> PartCommit:
    commit = write_part(store, teacher, part, data.ids, data.vectors, {}, tokens=0, requests=0, seconds=0.0)
    if commit is None:
        raise SystemExit("the store is not empty")
    return commit


def reads(store: ObjectStore, data: Data, keys: list[str], read_raw: Callable[[str], bytes | memoryview]) -> dict[str, Job]:
    targets = TargetStore(store, TEACHER, data.part_rows, data.dim)
    numbers = range(data.parts)
    return {
        "raw_bytes": lambda: [len(read_raw(f"raw/{n}")) for n in numbers],
        "verified_parts": lambda: [targets.read_part(part, data.ids).vectors.shape for part in data.all_parts],
        "verified_parts_sha256": lambda: [targets.read_part(part, data.ids, audit=True).vectors.shape for part in data.all_parts],
        "decoded_only": lambda: [decode_vectors(view(store, key)).vectors.shape for key in keys],
        "list_float32_zstd": lambda: [decode_list(view(store, f"list/{n}"), data.dim).shape for n in numbers],
        "list_float32_zstd_default": lambda: [decode_list(view(store, f"list-default/{n}"), data.dim).shape for n in numbers],
        "raw_bytes_shard": lambda: [read_raw(f"raw/{n}") for n in numbers],
        "verified_shard": lambda: targets.read_shard(data.shard, data.ids * data.parts),
    }


def writes(store: ObjectStore, data: Data, raw: bytes) -> dict[str, Job]:
    def new(write_under: Callable[[str], object]) -> Job:
        return lambda: [write_under(f"w/{uuid.uuid4().hex}") for _ in range(data.parts)]

    return {
        "raw_bytes": new(lambda key: store.put(key, raw)),
        "committed_parts": lambda: [write(store, data, part, uuid.uuid4().hex) for part in data.all_parts],
        "encoded_only": new(lambda key: store.put(key, encode_vectors(data.vectors, data.ids, {}))),
        "list_float32_zstd": new(lambda key: store.put(key, encode_list(data))),
        "list_float32_zstd_default": new(lambda key: store.put(key, encode_list(data, dictionaries=True))),
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
    for key in ("list/0", "list-default/0"):
        np.testing.assert_array_equal(decode_list(view(store, key), data.dim), data.vectors)
    read_raw = (lambda key: view(store, key)) if folder is None else (lambda key: (folder / key).read_bytes())
    rows = data.parts * data.part_rows
    return {
        "read": rows_per_second(reads(store, data, keys, read_raw), rows, rounds),
        "write": rows_per_second(writes(store, data, store.get(keys[0])), rows, rounds),
    }


def ratios(local: dict[str, dict[str, float]], s3: dict[str, dict[str, float]]) -> dict[str, float]:
    def ratio(where: dict[str, float], ours: str, peer: str) -> float:
        return round(where[ours] / where[peer], 2)

    return {
        "read_vs_list_float32_zstd": ratio(local["read"], "verified_parts", "list_float32_zstd"),
        "read_vs_list_float32_zstd_default": ratio(local["read"], "verified_parts", "list_float32_zstd_default"),
        "read_vs_raw_bytes": ratio(local["read"], "verified_parts", "raw_bytes"),
        "shard_read_vs_raw_bytes_shard": ratio(local["read"], "verified_shard", "raw_bytes_shard"),
        "read_with_sha256_vs_raw_bytes": ratio(local["read"], "verified_parts_sha256", "raw_bytes"),
        "write_vs_list_float32_zstd": ratio(local["write"], "committed_parts", "list_float32_zstd"),
        "write_vs_list_float32_zstd_default": ratio(local["write"], "committed_parts", "list_float32_zstd_default"),
        "write_vs_raw_bytes": ratio(local["write"], "committed_parts", "raw_bytes"),
        "raw_write_vs_list_float32_zstd": ratio(local["write"], "raw_bytes", "list_float32_zstd"),
        "s3_read_vs_list_float32_zstd": ratio(s3["read"], "verified_parts", "list_float32_zstd"),
        "s3_read_vs_list_float32_zstd_default": ratio(s3["read"], "verified_parts", "list_float32_zstd_default"),
        "s3_read_vs_raw_bytes": ratio(s3["read"], "verified_parts", "raw_bytes"),
        "s3_write_vs_list_float32_zstd": ratio(s3["write"], "committed_parts", "list_float32_zstd"),
        "s3_write_vs_list_float32_zstd_default": ratio(s3["write"], "committed_parts", "list_float32_zstd_default"),
        "s3_write_vs_raw_bytes": ratio(s3["write"], "committed_parts", "raw_bytes"),
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
    torch.set_num_threads(1)
    data = make_data(given.part_rows, given.dimensions, given.parts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "local"
        folder.mkdir()
        local = measure(ObjectStore(folder.as_uri()), data, folder, given.rounds)
        with ObjectServer(Path(temporary) / "s3") as server:
            os.environ.update(server.env)
            s3 = measure(ObjectStore(f"s3://{server.bucket}/bench", endpoint=server.endpoint), data, None, given.rounds)
    for where, found in (("local", local), ("s3", s3)):
        for what, speeds in found.items():
            for name, speed in speeds.items():
                print(f"{where:6}{what:6}{name:26}{speed:>12,.0f} rows/s")
    record: dict[str, object] = {
        "benchmark": "target_store",
        "dimensions": given.dimensions,
        "rows": given.parts * given.part_rows,
        "rounds": given.rounds,
        "rows_per_second": {"local": local, "s3": s3},
    }
    print(json.dumps(record | ratios(local, s3)))


if __name__ == "__main__":
    main()
