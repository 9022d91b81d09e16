"""A teacher in the published layout gives the head that the recipe's ``dimensions`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mtd_ray.config import LocalTeacher, teacher_fingerprint
from mtd_ray.teachers import TeacherError, open_teacher
from tests.tiny_models import sentences
from tests.tiny_published import DEFAULT, SIZES, at_size, tiny_published

TEXTS = sentences(5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_published(tmp_path / "model", tmp_path / "bert")


def config(folder: Path, dimensions: int, **more: Any) -> LocalTeacher:
    return LocalTeacher(provider="local", model=str(folder), dimensions=dimensions, **more)


def vectors(config: LocalTeacher) -> np.ndarray:
    return open_teacher("local", config).embed(TEXTS, ["passage"] * len(TEXTS)).vectors


def test_every_head(folder: Path) -> None:
    for size in SIZES:
        found = vectors(config(folder, size))
        np.testing.assert_allclose(found, SentenceTransformer(str(at_size(folder, size)), device="cpu").encode(TEXTS), atol=1e-5)
        at_size(folder, DEFAULT, written=f"2_Dense_{size}")


def test_vectors_that_the_recipe_shortens_stay_those_of_the_default_head(folder: Path) -> None:
    default = vectors(config(folder, DEFAULT))
    np.testing.assert_allclose(vectors(config(folder, 12, shorten="cut")), default[:, :12], atol=1e-6)


def test_a_head_is_told_apart_by_the_fingerprint(folder: Path) -> None:
    assert len({teacher_fingerprint(config(folder, size)) for size in SIZES}) == len(SIZES)


def test_a_size_that_is_not_there_names_those_that_are(folder: Path) -> None:
    with pytest.raises(TeacherError, match=r"set it to 24 or, for another of its heads, to 12, 40$"):
        open_teacher("local", config(folder, 99))
