"""Nearest documents, block by block, on the device of the encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mtd_ray.config import LocalTeacher
from mtd_ray.evaluate.measuring import search
from mtd_ray.evaluate.measuring.embedded import Rows
from mtd_ray.evaluate.measuring.search import Stored, nearest, ranked
from mtd_ray.evaluate.models.base import Access
from mtd_ray.evaluate.models.teacher import MeasuredTeacher
from mtd_ray.evaluate.vectors import Vectors, unit
from mtd_ray.objects import ObjectStore

SIZE = 8


def stored(count: int, seed: int, largest: list[int]) -> Stored:
    """Random unit vectors; notes how many were read at once."""
    vectors = unit(np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32))

    def read(rows: Rows) -> Vectors:
        largest.append(len(rows))
        return vectors[rows]

    return Stored(np.arange(count), read, SIZE)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of seven vectors."""
    monkeypatch.setattr(search, "BLOCK_BYTES", 4 * SIZE * 7)


def test_blocks_of_queries_and_documents_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a GPU that belongs to somebody else
    read: list[int] = []
    queries, documents = stored(20, 0, read), stored(50, 1, read)
    found = list(nearest(queries, documents, most=5, device="cpu"))
    assert max(read) == 7
    products = queries.read(queries.rows) @ documents.read(documents.rows).T
    assert [places for _, places in found] == np.argsort(-products, axis=1)[:, :5].tolist()
    assert [best for best, _ in found] == [pytest.approx(sorted(row)[:-6:-1], abs=1e-6) for row in products.tolist()]


def test_fewer_documents_than_asked_for_are_all_found() -> None:
    found = list(nearest(stored(3, 0, []), stored(5, 1, []), most=100, device="cpu"))
    assert [sorted(places) for _, places in found] == [[0, 1, 2, 3, 4]] * 3


def test_candidates_are_ranked_for_every_block_of_queries() -> None:
    queries, documents = stored(20, 0, []), stored(50, 1, [])
    names = [f"q{row}" for row in range(20)]
    found = list(ranked(queries, names, {"q0": [3, 4], "q15": [9, 2, 7]}, documents, most=2))
    products = queries.read(queries.rows) @ documents.read(documents.rows).T
    assert found[15][1] == sorted([9, 2, 7], key=lambda place: -products[15, place])[:2]
    assert (len(found), found[1]) == (20, ([], []))


@pytest.mark.parametrize(("gpus", "there", "device"), [(0, True, "cpu"), (1, True, "cuda"), (1, False, "cpu")])
def test_a_local_teacher_is_searched_on_the_gpu_that_it_was_given(
    gpus: int, there: bool, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    config = LocalTeacher(provider="local", model="unused", dimensions=8, num_gpus=gpus)
    with MeasuredTeacher("t", config).open(ObjectStore(str(tmp_path)), Access()) as encoder:
        assert encoder.device == device
