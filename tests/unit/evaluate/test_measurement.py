"""What is left to measure of a model on a task, and what one measurement keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mtd_ray.config import Form
from mtd_ray.evaluate.measurement import Measurement, planned
from mtd_ray.evaluate.measuring.bases import CorpusTexts
from mtd_ray.evaluate.models import About, Access, Asked, Published, Role
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore
from tests.tiny_corpus import tiny_texts, write_corpus

ALL: tuple[Form, ...] = ("float32", "int8", "binary", "cut", "pca")


@dataclass(frozen=True)
class Counting:
    """A model, and as an encoder itself, whose vectors are random numbers."""

    role: Role = "student"
    sizes: tuple[int, ...] = (8, 16)
    given: tuple[int, ...] = (8, 16)
    content: str = "weights"
    name: str = "student"
    label: str = "student"
    cpus: float = 1
    gpus: float = 0
    teacher_names: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    about = About("mtd-ray/run", "abc", 128, "float32")

    def identity(self, store: ObjectStore) -> str:
        return self.content

    def published(self, store: ObjectStore) -> Published:
        return Published(f"mtd-ray/{self.name}", "abc")

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[Any]:
        yield _Encoder(self.given)


@dataclass(frozen=True)
class _Encoder:
    sizes: tuple[int, ...]
    about = Counting.about

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        random = np.random.default_rng(0)
        return {size: random.standard_normal((len(texts), size)).astype(np.float32) for size in self.sizes}


@dataclass(frozen=True)
class Data:
    type: str = "STS"
    name: str = "similar"
    identity: str = "data"
    parts: tuple[()] = ()
    from_hub: bool = True

    def open(self, store: ObjectStore) -> str:
        return self.name


Asking = list[tuple[tuple[str, ...], tuple[int, ...]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asking:
    """The views and the bases of each measurement that was made."""
    made: Asking = []

    def measure(encoder: Any, task: str, views: Sequence[View], *, bases: Mapping[int, Any]) -> dict[View, TaskScore]:
        made.append((tuple(map(str, views)), tuple(bases)))
        return {view: TaskScore(view.size / 100, mteb={"task_name": task}) for view in views}

    monkeypatch.setattr("mtd_ray.evaluate.measuring.measure.measure", measure)
    return made


def plan(store: ObjectStore, model: Counting, forms: tuple[Form, ...] = ("float32",), **more: Any) -> Measurement:
    (found,) = planned(store, model, [Data(more.pop("type", "STS"))], forms, **more)
    return found


def test_only_views_that_are_not_kept_are_measured(local_store: ObjectStore, asked: Asking) -> None:
    first = plan(local_store, Counting())
    assert first.left
    outcome = first.run(local_store, Access())
    assert {str(view): score.main for view, score in outcome.scores.items()} == {"8": 0.08, "16": 0.16}

    again = plan(local_store, Counting())
    assert not again.left
    assert again.outcome(again.known) == outcome

    more = plan(local_store, Counting(), ("float32", "int8"))
    assert set(map(str, more.run(local_store, Access()).scores)) == {"8", "16", "8-int8", "16-int8"}
    assert asked == [(("8", "16"), ()), (("8-int8", "16-int8"), ())]
    assert not plan(local_store, Counting(), ("int8",)).left


def test_what_was_asked_for_is_told_though_more_is_kept(local_store: ObjectStore, asked: Asking) -> None:
    plan(local_store, Counting(), ("int8", "binary")).run(local_store, Access())
    fewer = plan(local_store, Counting(sizes=(16,)))
    assert set(map(str, fewer.outcome(fewer.known).scores)) == {"16"}


def test_other_weights_are_measured_again(local_store: ObjectStore, asked: Asking) -> None:
    plan(local_store, Counting()).run(local_store, Access())
    assert plan(local_store, Counting(content="other")).left


def test_the_sizes_of_a_model_that_only_knows_them_loaded_are_remembered(local_store: ObjectStore, asked: Asking) -> None:
    unknown = Counting(role="model", sizes=())
    assert plan(local_store, unknown).missing is None
    plan(local_store, Counting(role="model", sizes=(8,), given=(8,))).run(local_store, Access())
    assert plan(local_store, unknown).left
    assert set(map(str, plan(local_store, unknown).run(local_store, Access()).scores)) == {"8", "16"}
    assert not plan(local_store, unknown).left
    assert asked == [(("8",), ()), (("16",), ())]


def test_teachers_are_measured_as_they_come(local_store: ObjectStore) -> None:
    assert plan(local_store, Counting(role="teacher"), ALL).missing == (View(8), View(16))
    assert plan(local_store, Counting(), ALL, type="Classification").missing == (View(8), View(16))


def test_bases_are_fitted_on_the_corpus_and_without_one_the_form_is_left_out(local_store: ObjectStore, asked: Asking) -> None:
    model, texts = Counting(), CorpusTexts.of(write_corpus(local_store, tiny_texts(50), 30))
    assert texts is not None
    assert View(8, "pca") not in plan(local_store, model, ALL).wanted((8, 16))
    found = plan(local_store, model, ("pca",), texts=texts)
    assert found.bases is not None
    found.bases.fit(local_store, model, Access())
    found.run(local_store, Access())
    assert asked == [(("8", "8-pca", "16"), (8,))]
    assert found.bases.read(local_store)[8].shape == (16, 8)
    assert not plan(local_store, model, ("pca",), texts=texts).left

    others = CorpusTexts.of(write_corpus(local_store, tiny_texts(40), 40))
    assert plan(local_store, model, ("pca",), texts=others).missing == (View(8, "pca"),)


def test_bases_belong_to_the_prompt_of_documents(local_store: ObjectStore, asked: Asking) -> None:
    texts = CorpusTexts.of(write_corpus(local_store, tiny_texts(50), 30))

    def planned_with(**prompts: str) -> Measurement:
        return plan(local_store, Counting(prompts=prompts), ("pca",), texts=texts)

    first = planned_with()
    assert first.bases is not None
    first.bases.fit(local_store, first.model, Access())
    first.run(local_store, Access())
    assert not planned_with(Classification="a").left
    assert planned_with(STS="a").missing == (View(8), View(8, "pca"), View(16))
    other = planned_with(**{"Retrieval-document": "a"})  # which no text of a similarity task gets, only those of the bases
    assert other.missing == (View(8, "pca"),)
    assert other.bases is not None
    assert other.bases.key != first.bases.key


def test_a_sample_is_of_all_sizes_of_corpora(local_store: ObjectStore) -> None:
    manifest = write_corpus(local_store, tiny_texts(50), 30)
    sample = CorpusTexts.of(manifest)
    assert sample is not None
    assert len(set(sample.read(local_store))) == sample.rows == 50
    assert CorpusTexts.of(write_corpus(local_store, [], 30)) is None
