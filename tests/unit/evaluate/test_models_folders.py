"""Published students and other folders as measured models."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from mtd_ray import layout
from mtd_ray.config import StudentConfig
from mtd_ray.errors import StorageError
from mtd_ray.evaluate.models import (
    Access,
    Asked,
    ConcatenatedTeachers,
    ExportedStudent,
    ModelFolder,
    Published,
    models_of,
    opened_student,
)
from mtd_ray.evaluate.models.elsewhere import PublishedModel
from mtd_ray.evaluate.models.names import key_of, published_name
from mtd_ray.export import export_student
from mtd_ray.fetched import fetched_student
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.student import Student
from tests.tiny_models import sentences, tiny_bert
from tests.tiny_published import DEFAULT, PROMPTS, SIZES, tiny_published
from tests.tiny_run import tiny_recipe

DAY_S = 24 * 3600
QUERY, ALIKE = Asked("SciFact", "Retrieval", "query"), Asked("STSBenchmark", "STS", None)
TEXTS = sentences(7)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MTD_RAY_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    model = tiny_bert(tmp_path_factory.mktemp("bert"))
    prompts = {"query": "find the file ", "s2s_query": "sort "}
    return Student.build(StudentConfig(model=model, max_tokens=32, heads=(8, 16), default_head=16, prompts=prompts), seed=1)


def published(student: Student, store: ObjectStore, folder: Path, prefix: str) -> Path:
    export_student(student, folder, card=None)
    (folder / "README.md").write_text(f"the card of {prefix}")
    publish_folder(store, folder, prefix)
    return folder


def exported(prefix: str, sizes: tuple[int, ...] = (8, 16), **prompts: str) -> ExportedStudent:
    return ExportedStudent("student", "mtd-ray/r", prefix, sizes, 1.0, 0.0, prompts)


def test_student_at_every_size_with_its_prompts(student: Student, local_store: ObjectStore, tmp_path: Path) -> None:
    folder = published(student, local_store, tmp_path / "student", "runs/r/student")
    model = SentenceTransformer(str(folder), device="cpu")
    with exported("runs/r/student").open(local_store, Access()) as encoder:
        assert encoder.sizes == (8, 16)
        assert (encoder.about.name, encoder.about.max_tokens) == ("mtd-ray/r", 32)
        assert (encoder.prompt(QUERY), encoder.prompt(ALIKE)) == ("find the file ", "sort ")
        found = encoder.encode(TEXTS, QUERY)
        assert encoder.count_tokens(["the " * 50]) == [52]
    assert sorted(found) == [8, 16]
    np.testing.assert_allclose(found[16], model.encode(TEXTS, prompt_name="query"), atol=1e-5)


def test_chosen_sizes_and_prompts(student: Student, local_store: ObjectStore, tmp_path: Path) -> None:
    published(student, local_store, tmp_path / "student", "s")
    with exported("s", (16,), STS="query").open(local_store, Access()) as encoder:
        assert encoder.prompt(ALIKE) == "find the file "
        assert list(encoder.encode(TEXTS, ALIKE)) == [16]


def test_identity_follows_weights_not_the_card_or_what_it_is_called(
    student: Student, local_store: ObjectStore, tmp_path: Path
) -> None:
    published(student, local_store, tmp_path / "one", "one")
    published(student, local_store, tmp_path / "same", "same")
    published(Student.build(student.config, seed=2), local_store, tmp_path / "other", "other")
    one, same, other = (exported(prefix).identity(local_store) for prefix in ("one", "same", "other"))
    assert one == same != other
    assert exported("one", (8,), STS="query").identity(local_store) == one
    elsewhere = PublishedModel(f"{local_store.url}/same", "demo")
    assert elsewhere.identity(local_store) == one
    revision = layout.short(one)
    assert exported("one").published(local_store) == Published("mtd-ray/r", revision)
    assert elsewhere.published(local_store) == Published("local/demo", revision)


def test_a_student_is_fetched_once_and_removed_when_nobody_uses_it(
    student: Student, local_store: ObjectStore, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(student, local_store, tmp_path / "one", "one")
    published(Student.build(student.config, seed=2), local_store, tmp_path / "two", "two")
    one = fetched_student(local_store, "one")
    (one / "note").touch()
    assert fetched_student(local_store, "one") == one
    assert (one / "note").exists()
    used = time.time() - 2 * DAY_S
    os.utime(one, (used, used))
    two = fetched_student(local_store, "two")
    assert list((cache / "students").iterdir()) == [two]


def test_a_student_that_is_not_published(local_store: ObjectStore) -> None:
    with pytest.raises(StorageError, match="runs/r/student holds no published model"):
        exported("runs/r/student").identity(local_store)


def test_published_folder_at_every_size(local_store: ObjectStore, tmp_path: Path) -> None:
    folder = tiny_published(tmp_path / "model", tmp_path / "bert")
    plain = SentenceTransformer(str(folder), device="cpu")
    model = ModelFolder(str(folder), "stella")
    assert pickle.loads(pickle.dumps(model)) == model
    with model.open(local_store, Access()) as encoder:
        assert (encoder.sizes, encoder.about.name) == (SIZES, "local/model")
        assert encoder.prompt(QUERY) == PROMPTS["s2p_query"]
        found = encoder.encode(TEXTS, QUERY)[DEFAULT]
    np.testing.assert_allclose(found, plain.encode(TEXTS, prompt_name="s2p_query"), atol=1e-5)


def test_plain_folder_with_its_default_prompt(local_store: ObjectStore, tmp_path: Path) -> None:
    modules = [Transformer(tiny_bert(tmp_path / "bert"), max_seq_length=32), Pooling(32, "mean")]
    plain = SentenceTransformer(modules=modules, prompts={"all": "the "}, default_prompt_name="all", device="cpu")
    plain.save(str(tmp_path / "model"))
    with ModelFolder(str(tmp_path / "model"), "plain").open(local_store, Access()) as encoder:
        assert (encoder.sizes, encoder.prompt(ALIKE)) == ((32,), "the ")
        assert encoder.count_tokens(["the " * 50]) == [52]
        np.testing.assert_allclose(encoder.encode(TEXTS, ALIKE)[32], plain.encode(TEXTS), atol=1e-5)


def test_identity_of_a_folder(local_store: ObjectStore, tmp_path: Path) -> None:
    folder = str(tiny_published(tmp_path / "model", tmp_path / "bert"))
    identities = [
        ModelFolder(folder, "a").identity(local_store),
        ModelFolder(folder, "a", dtype="bfloat16").identity(local_store),
        ModelFolder(folder, "a", max_tokens=8).identity(local_store),
    ]
    assert len(set(identities)) == 3
    assert ModelFolder(folder, "b", prompts={"STS": "s2p_query"}).identity(local_store) == identities[0]


def test_names_for_the_leaderboard_and_for_keys() -> None:
    assert published_name("org/model-1.5B", "local") == "org/model-1.5B"
    assert published_name("/models/stella/", "local") == "local/stella"
    assert published_name("package:wordllama", "local").startswith("local/package-wordllama-")
    assert key_of("org/model") != key_of("org-model") == "org-model"


def test_models_of_a_recipe(local_store: ObjectStore) -> None:
    singles, combined = models_of(tiny_recipe(local_store, "/models/bert"))
    assert [model.label for model in singles] == ["student", "untrained", "teacher-alpha", "teacher-beta"]
    assert [model.sizes for model in singles] == [(8, 16), (16,), (12,), (4,)]
    assert [type(model) for model in combined] == [ConcatenatedTeachers]
    recipe = tiny_recipe(local_store, "/models/bert")
    of_beta = recipe.model_copy(
        update={"stages": tuple(stage.model_copy(update={"teachers": ("beta",)}) for stage in recipe.stages)}
    )
    singles, combined = models_of(of_beta)  # the target has no part of alpha
    assert ([model.label for model in singles[2:]], combined) == (["teacher-beta"], ())
    without, none = models_of(tiny_recipe(local_store, "/models/bert", evaluate={"baselines": False, "pairs": {"p": "/p.parquet"}}))
    assert ([model.label for model in without], none) == (["student", "untrained"], ())


def test_a_loaded_student_as_an_encoder(tmp_path: Path) -> None:
    from mtd_ray.encoder import StudentEncoder

    student = StudentEncoder.load(tiny_published(tmp_path / "model", tmp_path / "bert"), device="cpu")
    encoder = opened_student(student, Published("mtd-ray/x", "1"), sizes=(12,))
    assert {size: found.shape for size, found in encoder.encode(TEXTS, ALIKE).items()} == {12: (7, 12)}
