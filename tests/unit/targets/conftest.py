"""A small corpus in a local store, and vectors for it."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from mtd_ray.corpus import Manifest, Shard


@pytest.fixture
def shard() -> Shard:
    return Shard(0, "corpora/x/shards/00000.parquet", 25, hashlib.sha256(b"shard").hexdigest())


@pytest.fixture
def manifest(shard: Shard) -> Manifest:
    second = Shard(1, "corpora/x/shards/00001.parquet", 7, hashlib.sha256(b"second").hexdigest())
    return Manifest("f" * 64, (shard, second), {"kept": 32}, {})


@pytest.fixture
def ids() -> list[str]:
    return [f"id{row:04d}" for row in range(25)]


@pytest.fixture
def vectors() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((25, 12)).astype(np.float32)
