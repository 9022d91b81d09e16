from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.config import Kind, OpenAITeacher, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.errors import CorpusError
from mtd_ray.harvest import worker as worker_module
from mtd_ray.harvest.worker import PartWorker, Receipt
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore, parts_of, pending_parts
from mtd_ray.teachers import AccountError, Answer, BadAnswer, TeacherUnavailable
from tests.tiny_corpus import tiny_texts, write_corpus

TEACHER = OpenAITeacher(provider="openai", model="fake", dimensions=2)
FINGERPRINT = teacher_fingerprint(TEACHER)
PART_ROWS = 4


class FakeTeacher:
    """Answers ``[length of the text, 1]`` and records what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.failures: dict[int, str] = {}
        self.error: Exception | None = None

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        self.asked.append(list(texts))
        if self.error:
            raise self.error
        vectors = np.array([[len(text), 1] for text in texts], dtype=np.float32)
        vectors[list(self.failures)] = 0
        return Answer(vectors, self.failures, tokens=7, requests=3, rejected=1)

    def close(self) -> None:
        return None


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTeacher:
    fake = FakeTeacher()
    monkeypatch.setattr(worker_module, "open_teacher", lambda name, config, limiter=None: fake)
    return fake


@pytest.fixture
def manifest(local_store: ObjectStore) -> Manifest:
    return write_corpus(local_store, tiny_texts(10), shard_rows=6)


def new_worker(store: ObjectStore) -> PartWorker:
    return PartWorker(store, "fake", TEACHER)


def test_every_part_is_committed_with_its_own_texts(local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher) -> None:
    worker = new_worker(local_store)
    receipts = [worker.harvest(part) for part in parts_of(manifest, PART_ROWS)]
    assert receipts[0] == Receipt("committed", 4, 0, tokens=7, requests=3, rejected=1)
    assert sum(receipt.rows for receipt in receipts) == manifest.rows
    assert pending_parts(local_store, FINGERPRINT, manifest, PART_ROWS) == []
    texts = iter(tiny_texts(10))
    for shard in manifest.shards:
        vectors, valid = TargetStore(local_store, FINGERPRINT, PART_ROWS, 2).read_shard(shard)
        assert valid.all()
        assert [int(vector[0]) for vector in vectors] == [len(next(texts)) for _ in vectors]


def test_a_committed_part_is_not_asked_again(local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher) -> None:
    part = parts_of(manifest, PART_ROWS)[0]
    new_worker(local_store).harvest(part)
    again = new_worker(local_store).harvest(part)
    assert again == Receipt("present", 4)
    assert len(fake.asked) == 1


def test_failed_rows_are_counted_and_marked(local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher) -> None:
    fake.failures = {1: "too long"}
    worker = new_worker(local_store)
    receipts = [worker.harvest(part) for part in parts_of(manifest, PART_ROWS)]
    assert [receipt.failed_rows for receipt in receipts] == [1] * len(receipts)
    _, valid = TargetStore(local_store, FINGERPRINT, PART_ROWS, 2).read_shard(manifest.shards[0])
    assert valid.tolist() == [True, False, True, True, True, False]


@pytest.mark.parametrize("error", [AccountError("no money"), TeacherUnavailable("gone"), BadAnswer("wrong")])
def test_an_error_for_a_person_travels_as_a_receipt(
    local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher, error: Exception
) -> None:
    fake.error = error
    receipt = new_worker(local_store).harvest(parts_of(manifest, PART_ROWS)[0])
    assert receipt.outcome == "error"
    with pytest.raises(type(error), match=str(error)):
        Receipt(**receipt.to_row()).raise_error()
    assert len(pending_parts(local_store, FINGERPRINT, manifest, PART_ROWS)) == 3


def test_a_damaged_shard_is_never_paid_for(local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher) -> None:
    local_store.put(manifest.shards[0].key, local_store.get(manifest.shards[1].key))
    receipt = new_worker(local_store).harvest(parts_of(manifest, PART_ROWS)[0])
    with pytest.raises(CorpusError):
        receipt.raise_error()
    assert fake.asked == []


def test_a_bug_is_raised_not_hidden(local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher) -> None:
    fake.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        new_worker(local_store).harvest(parts_of(manifest, PART_ROWS)[0])


def test_vectors_that_are_no_targets_are_never_committed(
    local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        return Answer(np.full((len(texts), 2), np.nan, np.float32), {}, 1, 1)

    monkeypatch.setattr(fake, "embed", embed)
    assert new_worker(local_store).harvest(parts_of(manifest, PART_ROWS)[0]).outcome == "error"
    assert list(local_store.list(layout.part_commits(FINGERPRINT))) == []


def test_the_part_of_another_attempt_stands(
    local_store: ObjectStore, manifest: Manifest, fake: FakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = parts_of(manifest, PART_ROWS)[0]
    ask = fake.embed

    def embed(texts: Sequence[str], kinds: Sequence[Kind]) -> Any:
        monkeypatch.setattr(fake, "embed", ask)
        assert new_worker(local_store).harvest(part).outcome == "committed"
        return ask(texts, kinds)

    monkeypatch.setattr(fake, "embed", embed)
    assert new_worker(local_store).harvest(part).outcome == "present"
    assert len(list(local_store.list(f"{layout.teacher(FINGERPRINT)}/data"))) == 1
