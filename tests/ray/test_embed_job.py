"""Bulk embedding on a real cluster, from S3 to S3, with the job killed in the middle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.embed.record import Record
from mtd_ray.encoder import StudentEncoder
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.sandbox.ray_cluster import RayCluster
from tests.tiny_export import HEADS, tiny_export

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
FILES, ROWS, PIECE_ROWS = 2, 600, 10
PIECES = FILES * ROWS // PIECE_ROWS


def texts_of(file: int) -> list[str]:
    return [f"sort the list of numbers {row % 50} and file {file}" for row in range(ROWS)]


def command(store: ObjectStore) -> list[str]:
    given = [f"{store.url}/runs/one", "--texts", f"{store.url}/docs/*.parquet", "--to", f"{store.url}/vectors"]
    more = ["--dimensions", str(HEADS[0]), "--dtype", "float16", "--workers", "2", "--cpus", "1", "--piece-rows", str(PIECE_ROWS)]
    return [sys.executable, "jobs/embed.py", *given, *more]


def test_a_killed_job_is_continued_and_committed_pieces_are_not_embedded_again(
    ray_cluster: RayCluster, s3_store: ObjectStore, s3_env: dict[str, str], tmp_path: Path
) -> None:
    student = tiny_export(tmp_path / "tiny", tmp_path / "bert")
    publish_folder(s3_store, student, "runs/one/student")
    for file in range(FILES):
        table = pa.table({"id": range(ROWS), "text": texts_of(file)})
        pq.write_table(table, tmp_path / "docs.parquet", row_group_size=PIECE_ROWS)
        s3_store.upload(tmp_path / "docs.parquet", f"docs/{file}.parquet")
    environment = os.environ | ray_cluster.env | {"RAY_ADDRESS": ray_cluster.address, "MTD_RAY_CACHE": str(tmp_path / "cache")}

    record = Record(f"{s3_store.url}/vectors")
    job = subprocess.Popen(
        command(s3_store), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while len(record.committed()) < PIECES // 8:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.1)
    job.kill()
    job.communicate()
    wait_until_workers_are_gone(ray_cluster)
    committed = len(record.committed())
    assert PIECES // 8 <= committed < PIECES

    done = run(command(s3_store), environment)
    encoder = StudentEncoder.load(student)
    whole = sum(sum(encoder.count_tokens(texts_of(file))) for file in range(FILES))
    told = re.search(r"([\d,]+) tokens in", done)
    assert told is not None, done
    assert int(told[1].replace(",", "")) <= whole * (1 - committed / PIECES) * 1.02
    for file in range(FILES):
        s3_store.download(f"vectors/{file}.parquet", tmp_path / "found.parquet")
        found = pq.read_table(tmp_path / "found.parquet")
        assert found["id"].to_pylist() == list(range(ROWS))
        expected = encoder.encode(texts_of(file), heads=[HEADS[0]])[HEADS[0]]
        np.testing.assert_allclose(np.array(found["vector"].to_pylist(), np.float32), expected, atol=2e-3)
    assert record.committed() == set()
    assert "1,200 vectors of 16 numbers in 2 files" in done

    assert "2 there already; 0 tokens" in run(command(s3_store), environment)


def run(words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(words, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until_workers_are_gone(cluster: RayCluster) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if not any("MapWorker" in word for process in cluster.processes() for word in process.cmdline()):
                return
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)
    raise AssertionError("the killed job's workers are still there")
