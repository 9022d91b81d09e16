from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.config import Kind, OpenAITeacher, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.errors import CorpusError, StorageError
from mtd_ray.harvest import worker as worker_module
from mtd_ray.harvest.worker import PartWorker, Receipt
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import PartCommit, TargetStore, parts_of, pending_parts
from mtd_ray.teachers import AccountError, Answer, BadAnswer, BudgetSpent, TeacherUnavailable
from tests.tiny_corpus import tiny_texts, write_corpus

TEACHER = OpenAITeacher(provider="openai", model="fake", dimensions=2)
FINGERPRINT = teacher_fingerprint(TEACHER)
PART_ROWS = 4


class ScriptedTeacher:
    """Answers a row at a time, last row first, with ``[length of the text, 1]``; records what it was asked.

    ``failed`` texts get no vector, ``silence_s`` pass on ``now`` before each answer, ``error`` comes after ``answered`` rows, and
    ``before_row`` is called before each.
    """

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.failed: dict[str, str] = {}
        self.error: Exception | None = None
        self.answered = 0
        self.before_row: Callable[[], None] = lambda: None
        self.now = 0.0
        self.silence_s = 0.0

    def answers(self, texts: Sequence[str], kinds: Sequence[Kind], *, tick_s: float) -> Iterator[Answer | None]:
        self.asked.append(list(texts))
        for row in reversed(range(len(texts))):
            if self.error and len(texts) - 1 - row == self.answered:
                raise self.error
            self.before_row()
            for _ in range(int(self.silence_s // tick_s)):
                self.now += tick_s
                yield None
            self.now += self.silence_s % tick_s
            yield self._answer(row, texts[row])

    def _answer(self, row: int, text: str) -> Answer:
        if text in self.failed:
            return Answer([row], np.zeros((1, 2), np.float32), {row: self.failed[text]}, tokens=7, requests=2, rejected=1, usd=0.5)
        return Answer([row], np.array([[len(text), 1]], np.float32), {}, tokens=7, requests=2, rejected=1, usd=0.5)

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        return None


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> ScriptedTeacher:
    teacher = ScriptedTeacher()
    monkeypatch.setattr(worker_module, "open_teacher", lambda name, config, limiter=None, budget=None: teacher)
    return teacher


@pytest.fixture
def manifest(local_store: ObjectStore) -> Manifest:
    return write_corpus(local_store, tiny_texts(10), shard_rows=6)


@pytest.fixture
def new_worker(local_store: ObjectStore, teacher: ScriptedTeacher) -> Callable[[], PartWorker]:
    return lambda: PartWorker(local_store, "fake", TEACHER, clock=lambda: teacher.now)


NewWorker = Callable[[], PartWorker]


def commits(store: ObjectStore) -> list[PartCommit]:
    return [PartCommit.from_json(store.get(info.key)) for info in store.list(layout.part_commits(FINGERPRINT))]


def micro_parts(store: ObjectStore) -> list[str]:
    return sorted(info.key for info in store.list(layout.parts_micro(FINGERPRINT)))


def first_numbers(store: ObjectStore, manifest: Manifest) -> list[int]:
    """Of every stored vector the first number: the length of its text, or 0 where there is none."""
    stored = TargetStore(store, FINGERPRINT, PART_ROWS, 2)
    return [int(vector[0]) for shard in manifest.shards for vector in stored.read_shard(shard)[0]]


LENGTHS = [len(text) for text in tiny_texts(10)]


def test_every_part_is_committed_with_its_own_texts(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    worker = new_worker()
    receipts = [worker.harvest(part) for part in parts_of(manifest, PART_ROWS)]
    assert receipts[0] == Receipt("committed", 4, 0, tokens=28, requests=8, rejected=4, usd=2.0)
    assert sum(receipt.rows for receipt in receipts) == manifest.rows
    assert pending_parts(local_store, FINGERPRINT, manifest, PART_ROWS) == []
    assert first_numbers(local_store, manifest) == LENGTHS
    assert sum(commit.usd for commit in commits(local_store)) == 5.0


def test_parts_are_done_side_by_side_with_one_client(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    together = threading.Barrier(3, timeout=20)
    met = threading.local()

    def meet() -> None:
        if not hasattr(met, "before"):
            met.before = True
            together.wait()

    teacher.before_row = meet
    worker = new_worker()
    with ThreadPoolExecutor(3) as threads:
        receipts = list(threads.map(worker.harvest, parts_of(manifest, PART_ROWS)[:3]))
    assert [receipt.outcome for receipt in receipts] == ["committed"] * 3
    worker.harvest(parts_of(manifest, PART_ROWS)[-1])
    assert first_numbers(local_store, manifest) == LENGTHS


def test_a_committed_part_is_not_asked_again(manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker) -> None:
    part = parts_of(manifest, PART_ROWS)[0]
    new_worker().harvest(part)
    assert new_worker().harvest(part) == Receipt("present", 4)
    assert len(teacher.asked) == 1


def test_failed_rows_are_counted_and_marked(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    teacher.failed = dict.fromkeys((tiny_texts(10)[1], tiny_texts(10)[5]), "too long")
    worker = new_worker()
    receipts = [worker.harvest(part) for part in parts_of(manifest, PART_ROWS)]
    assert [receipt.failed_rows for receipt in receipts] == [1, 1, 0]
    _, valid = TargetStore(local_store, FINGERPRINT, PART_ROWS, 2).read_shard(manifest.shards[0])
    assert valid.tolist() == [True, False, True, True, True, False]


@pytest.mark.parametrize(
    "error", [AccountError("no money"), BudgetSpent("too dear"), TeacherUnavailable("gone"), BadAnswer("wrong")]
)
def test_an_error_for_a_person_travels_as_a_receipt_and_ends_the_worker(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker, error: Exception
) -> None:
    teacher.error = error
    worker = new_worker()
    receipts = [worker.harvest(part) for part in parts_of(manifest, PART_ROWS)]
    assert len(teacher.asked) == 1
    assert [receipt.outcome for receipt in receipts] == ["error", "skipped", "skipped"]
    for receipt in receipts:
        with pytest.raises(type(error), match=str(error)):
            Receipt(**receipt.to_row()).raise_error()
    assert len(pending_parts(local_store, FINGERPRINT, manifest, PART_ROWS)) == 3


@pytest.mark.parametrize("error", [BudgetSpent("too dear"), TeacherUnavailable("gone"), ZeroDivisionError("a bug")])
def test_what_was_paid_before_an_error_is_not_paid_again(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker, error: Exception
) -> None:
    part, texts = parts_of(manifest, PART_ROWS)[0], tiny_texts(10)
    teacher.error, teacher.answered, teacher.failed = error, 3, {texts[2]: "too long"}
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            new_worker().harvest(part)
    else:
        assert new_worker().harvest(part).outcome == "error"
    teacher.error = None
    receipt = new_worker().harvest(part)
    assert receipt == Receipt("committed", 4, 1, tokens=7, requests=2, rejected=1, usd=0.5)
    assert teacher.asked[1:] == [[texts[0]]], "only the row that was not answered"
    (commit,) = commits(local_store)
    assert (commit.tokens, commit.requests, commit.usd, commit.failed_rows) == (28, 8, 2.0, 1)
    assert micro_parts(local_store) == []


def test_a_slow_teachers_answers_are_put_away_in_time(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    seen: list[int] = []
    teacher.silence_s = 12.0
    teacher.before_row = lambda: seen.append(len(micro_parts(local_store)))
    new_worker().harvest(parts_of(manifest, PART_ROWS)[0])
    # Answers come at 12, 24, 36 and 48 s; while the third is awaited the first has been in memory for 20 s.
    assert seen == [0, 0, 0, 1]
    assert micro_parts(local_store) == [], "the commit holds them now"


def test_a_fast_teachers_answers_are_written_once(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    put = ObjectStore.put

    def recorded(self: ObjectStore, key: str, data: bytes) -> None:
        written.append(key)
        put(self, key, data)

    monkeypatch.setattr(ObjectStore, "put", recorded)
    teacher.silence_s = 4.0
    new_worker().harvest(parts_of(manifest, PART_ROWS)[0])
    assert len(written) == 1


def test_killed_between_answers_only_the_rest_is_asked(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    class Killed(BaseException):
        pass

    part, texts = parts_of(manifest, PART_ROWS)[0], tiny_texts(10)
    teacher.silence_s = 25.0

    def die_before_the_last() -> None:
        if teacher.now > 70:
            raise Killed

    teacher.before_row = die_before_the_last
    with pytest.raises(Killed):
        new_worker().harvest(part)
    teacher.before_row, teacher.silence_s = lambda: None, 0.0
    assert new_worker().harvest(part).outcome == "committed"
    assert teacher.asked[1] in ([texts[0]], texts[:2])
    assert sum(commit.tokens for commit in commits(local_store)) <= 28


def test_storage_that_fails_at_the_commit_loses_no_row(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = parts_of(manifest, PART_ROWS)[0]

    def refuse(self: ObjectStore, key: str, data: bytes) -> bool:
        raise StorageError("cannot create")

    with monkeypatch.context() as broken:
        broken.setattr(ObjectStore, "create", refuse)
        assert new_worker().harvest(part).error == "StorageError"
    assert new_worker().harvest(part) == Receipt("committed", 4)
    assert len(teacher.asked) == 1


def test_a_damaged_micro_part_is_asked_again(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    part = parts_of(manifest, PART_ROWS)[0]
    teacher.error, teacher.answered = TeacherUnavailable("gone"), 3
    new_worker().harvest(part)
    (key,) = micro_parts(local_store)
    local_store.put(key, local_store.get(key).replace(b"spent", b"tneps"))
    teacher.error = None
    assert new_worker().harvest(part).tokens == 28


def test_a_damaged_shard_is_never_paid_for(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    local_store.put(manifest.shards[0].key, local_store.get(manifest.shards[1].key))
    receipt = new_worker().harvest(parts_of(manifest, PART_ROWS)[0])
    with pytest.raises(CorpusError):
        receipt.raise_error()
    assert teacher.asked == []


def test_vectors_that_are_no_targets_are_never_committed(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = Answer([0], np.full((1, 2), np.nan, np.float32), {}, 1, 1)
    monkeypatch.setattr(teacher, "_answer", lambda row, text: nan)
    assert new_worker().harvest(parts_of(manifest, PART_ROWS)[0]).error == "TargetError"
    assert list(local_store.list(layout.teacher(FINGERPRINT))) == []


def test_the_part_of_another_attempt_stands(
    local_store: ObjectStore, manifest: Manifest, teacher: ScriptedTeacher, new_worker: NewWorker
) -> None:
    part = parts_of(manifest, PART_ROWS)[0]

    def overtake() -> None:
        teacher.before_row = lambda: None
        assert new_worker().harvest(part).failed_rows == 1

    teacher.before_row, teacher.failed = overtake, {tiny_texts(10)[0]: "too long"}
    late = new_worker().harvest(part)
    assert (late.outcome, late.failed_rows, late.tokens) == ("present", 0, 28), "it paid, and stored nothing"
    assert len(list(local_store.list(layout.parts_data(FINGERPRINT)))) == 1
