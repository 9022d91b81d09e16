"""The models that are measured: students from storage, teachers asked once, all teachers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer

from mtd_ray.config import Kind, OpenAITeacher, StudentConfig
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate import models
from mtd_ray.evaluate.models import ConcatenatedTeachers, ExportedStudent, MeasuredTeacher
from mtd_ray.evaluate.texts import RetrievalTexts
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.student import Student
from mtd_ray.teachers import Answer, Unbudgeted, Unlimited
from tests.tiny_models import sentences, tiny_bert

TEXTS = RetrievalTexts.from_pairs(
    "heldout", pa.table({"query": sentences(5, seed=1), "passage": [f"passage {text}" for text in sentences(5, seed=2)]})
)


class FakeTeacher:
    """Vectors that tell kind and row; counts what it is asked."""

    def __init__(self, size: int, failing: Sequence[int] = ()) -> None:
        self.size, self.failing = size, failing
        self.asked = 0

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        self.asked += len(texts)
        vectors = np.full((len(texts), self.size), 0.5, np.float32)
        vectors[:, 0] = [kind == "query" for kind in kinds]
        vectors[list(self.failing)] = 0
        return Answer(range(len(vectors)), vectors, dict.fromkeys(self.failing, "refused"), tokens=0, requests=0)

    def close(self) -> None:
        pass


def teacher(model: str, size: int, weight: float = 1.0) -> OpenAITeacher:
    return OpenAITeacher(provider="openai", model=model, dimensions=size, weight=weight)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeTeacher]:
    clients: dict[str, FakeTeacher] = {"a": FakeTeacher(4), "b": FakeTeacher(6)}
    monkeypatch.setattr(models, "open_teacher", lambda name, config, **shared: clients[name])
    return clients


def test_teacher_is_asked_with_kinds_and_only_once(opened: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    measured = MeasuredTeacher("a", teacher("m", 4))
    first = measured.vectors(local_store, "c" * 64, TEXTS)[4]
    assert first.queries[:, 0].tolist() == [1] * 5
    assert first.passages[:, 0].tolist() == [0] * 5
    again = measured.vectors(local_store, "c" * 64, TEXTS)[4]
    np.testing.assert_array_equal(again.passages, first.passages)
    assert opened["a"].asked == 10


def test_other_pairs_or_another_model_are_asked_again(opened: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    MeasuredTeacher("a", teacher("m", 4)).vectors(local_store, "c" * 64, TEXTS)
    MeasuredTeacher("a", teacher("m", 4)).vectors(local_store, "d" * 64, TEXTS)
    MeasuredTeacher("a", teacher("other", 4)).vectors(local_store, "c" * 64, TEXTS)
    assert opened["a"].asked == 30


def test_failed_texts_are_told_and_counted_as_not_found(
    monkeypatch: pytest.MonkeyPatch, local_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models, "open_teacher", lambda name, config, **shared: FakeTeacher(4, failing=[3]))
    found = MeasuredTeacher("a", teacher("m", 4)).vectors(local_store, "c" * 64, TEXTS)[4]
    assert not found.queries[3].any()
    assert "1 of 10 texts of task heldout failed, text 3: refused" in caplog.text
    assert not list(local_store.list())  # the next evaluation asks again


def test_stored_vectors_of_other_texts_are_refused(opened: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    measured = MeasuredTeacher("a", teacher("m", 4))
    measured.vectors(local_store, "c" * 64, TEXTS)
    (info,) = local_store.list()
    fewer = RetrievalTexts(TEXTS.name, TEXTS.queries[:4], TEXTS.passages, TEXTS.relevant[:4])
    with pytest.raises(EvaluationError, match=rf"{info.key} holds .*\(5, 4\).* not vectors of task 'heldout': delete it"):
        measured.vectors(local_store, "c" * 64, fewer)
    local_store.put(info.key, local_store.get(info.key)[:-9])
    with pytest.raises(EvaluationError, match=rf"{info.key} is damaged"):
        measured.vectors(local_store, "c" * 64, TEXTS)


def test_teacher_is_opened_with_the_shared_limiter_and_budget(monkeypatch: pytest.MonkeyPatch, local_store: ObjectStore) -> None:
    given = []

    def opened(name: str, config: OpenAITeacher, **shared: Any) -> FakeTeacher:
        given.append(shared)
        return FakeTeacher(4)

    monkeypatch.setattr(models, "open_teacher", opened)
    limiter, budget = Unlimited(), Unbudgeted()
    access = models.Access({"a": limiter}, {"a": budget})
    concatenated = ConcatenatedTeachers((MeasuredTeacher("a", teacher("m", 4)), MeasuredTeacher("b", teacher("n", 4))))
    concatenated.vectors(local_store, "c" * 64, TEXTS, access)
    assert given == [{"limiter": limiter, "budget": budget}, {"limiter": None, "budget": None}]


def test_teacher_that_answers_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, local_store: ObjectStore) -> None:
    monkeypatch.setattr(models, "open_teacher", lambda name, config, **shared: FakeTeacher(4, failing=range(10)))
    with pytest.raises(EvaluationError, match="not one text of task 'heldout'"):
        MeasuredTeacher("a", teacher("m", 4)).vectors(local_store, "c" * 64, TEXTS)


def test_concatenation_reads_what_the_teachers_left(opened: dict[str, FakeTeacher], local_store: ObjectStore) -> None:
    configs = {"a": teacher("m", 4), "b": teacher("n", 6, weight=4.0)}
    teachers = tuple(MeasuredTeacher(name, config) for name, config in configs.items())
    for measured in teachers:
        measured.vectors(local_store, "c" * 64, TEXTS)
    asked = [client.asked for client in opened.values()]
    fused = ConcatenatedTeachers(teachers).vectors(local_store, "c" * 64, TEXTS)[10]
    assert [client.asked for client in opened.values()] == asked
    np.testing.assert_allclose(np.linalg.norm(fused.passages[:, :4], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fused.passages[:, 4:], axis=1), 2, atol=1e-5)


def test_weights_change_the_concatenation_not_the_teachers(local_store: ObjectStore) -> None:
    light, heavy = (MeasuredTeacher("a", teacher("m", 4, weight)) for weight in (1.0, 2.0))
    assert light.identity(local_store) == heavy.identity(local_store)
    assert ConcatenatedTeachers((light,)).identity(local_store) != ConcatenatedTeachers((heavy,)).identity(local_store)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    config = StudentConfig(
        model=tiny_bert(tmp_path_factory.mktemp("bert")),
        max_tokens=32,
        heads=(8, 16),
        default_head=16,
        prompts={"query": "find the file "},
    )
    return Student.build(config, seed=1)


def published(student: Student, store: ObjectStore, folder: Path, prefix: str) -> None:
    export_student(student, folder, card=None)
    publish_folder(store, folder, prefix)


def test_student_at_every_size_with_its_query_prompt(student: Student, local_store: ObjectStore, tmp_path: Path) -> None:
    published(student, local_store, tmp_path / "student", "s")
    found = ExportedStudent("student", "s", (8, 16), 1.0, 0.0).vectors(local_store, "c" * 64, TEXTS)
    assert sorted(found) == [8, 16]
    model = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(found[16].queries, model.encode(list(TEXTS.queries), prompt_name="query"), atol=1e-5)
    np.testing.assert_allclose(found[16].passages, model.encode(list(TEXTS.passages)), atol=1e-5)


def test_default_size_only(student: Student, local_store: ObjectStore, tmp_path: Path) -> None:
    published(student, local_store, tmp_path / "student", "u")
    assert list(ExportedStudent("untrained", "u", None, 1.0, 0.0).vectors(local_store, "c" * 64, TEXTS)) == [16]


def test_identity_follows_the_weights(student: Student, local_store: ObjectStore, tmp_path: Path) -> None:
    published(student, local_store, tmp_path / "one", "one")
    published(student, local_store, tmp_path / "same", "same")
    published(Student.build(student.config, seed=2), local_store, tmp_path / "other", "other")
    one, same, other = (
        ExportedStudent("student", prefix, (8,), 1.0, 0.0).identity(local_store) for prefix in ("one", "same", "other")
    )
    assert one == same != other
