"""Texts that are tokenised already: the vectors of the texts, each of its own size, from one pass of the backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from torch import nn

from mtd_ray.config import StudentConfig
from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import MtdError
from mtd_ray.export import export_student
from mtd_ray.student import Student
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2
from tests.tiny_published import DEFAULT, SIZES, tiny_published

TEXTS = [*sentences(11), "array " * 100, "the", ""]


def ids_of(student: StudentEncoder, texts: list[str], prompt: str = "") -> list[list[int]]:
    tokens = student.tokens
    return [tokens.cut(ids) for ids in tokens.read(texts, prompt)]


def nested(folder: Path, **changes: object) -> Path:
    config = {"model": tiny_bert(folder / "bert"), "heads": (8, 16, 24), "default_head": 16, "max_tokens": 32}
    student = Student.build(StudentConfig.model_validate(config | {"matryoshka": "nested"} | changes), 3)
    nn.init.uniform_(student.heads["24"].bias)  # type: ignore[arg-type]
    export_student(student, folder / "student", card=None)
    return folder / "student"


@pytest.mark.parametrize("normalized", [False, True])
def test_each_text_has_its_own_size(tmp_path: Path, normalized: bool) -> None:
    folder = tiny_published(tmp_path / "model", tmp_path / "bert", normalized=normalized)
    student = StudentEncoder.load(folder, device="cpu", batch_tokens=64)
    expected = student.encode(TEXTS, heads=SIZES, prompt="find ")
    sizes = [SIZES[row % 3] for row in range(len(TEXTS))]
    vectors = student.embed_ids(ids_of(student, TEXTS, "find "), sizes)
    for row, (vector, size) in enumerate(zip(vectors, sizes, strict=True)):
        assert (vector.shape, vector.dtype, vector.base) == ((size,), np.float32, None)
        np.testing.assert_allclose(vector, expected[size][row], atol=1e-5)


def test_one_pass_and_a_head_only_for_those_who_want_it(tmp_path: Path) -> None:
    student = StudentEncoder.load(tiny_published(tmp_path / "model", tmp_path / "bert"), device="cpu")
    rows: list[tuple[int, ...]] = []
    for head in student._heads.values():
        head.register_forward_hook(lambda module, given, made: rows.append(tuple(made["sentence_embedding"].shape)))
    passes: list[int] = []
    student._backbone[0].register_forward_hook(lambda *_: passes.append(1))
    student.embed_ids(ids_of(student, ["the", "array", "sum of"]), [12, 40, 12])
    assert (len(passes), sorted(rows)) == (1, [(1, 40), (2, 12)])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_prefixes_of_nested_heads(tmp_path: Path, dtype: str) -> None:
    student = StudentEncoder.load(nested(tmp_path), device="cpu", dtype=dtype)
    assert (student.nested, student.heads, student.default_head) == (True, (8, 16, 24), 16)
    assert [size for size in range(-1, 30) if student.has_size(size)] == list(range(1, 25))
    vectors = student.embed_ids(ids_of(student, ["sort the list"] * 3), [24, 11, 3])
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    for vector in vectors:
        np.testing.assert_allclose(vector, vectors[0][: len(vector)], atol=tolerance)


def test_independent_heads_have_no_prefixes(tmp_path: Path) -> None:
    student = StudentEncoder.load(nested(tmp_path, matryoshka="independent"), device="cpu")
    assert not student.nested
    assert [size for size in range(30) if student.has_size(size)] == [8, 16, 24]
    with pytest.raises(MtdError, match="no head of size 11; it has 8, 16, 24"):
        student.embed_ids([[1]], [11])


def test_any_sentence_transformers_model_has_its_one_size(minilm: str) -> None:
    student = StudentEncoder.load(minilm, device="cpu", headless=True)
    assert (student.heads, student.default_head, student.nested) == ((384,), 384, False)
    expected = SentenceTransformer(minilm, device="cpu").encode(TEXTS)
    np.testing.assert_allclose(student.embed_ids(ids_of(student, TEXTS), [384] * len(TEXTS)), expected, atol=1e-5)
    np.testing.assert_allclose(student.encode(TEXTS)[384], expected, atol=1e-5)


def test_a_static_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    student = StudentEncoder.load("package:wordllama", device="cpu", headless=True)
    np.testing.assert_allclose(student.embed_ids(ids_of(student, TEXTS), [256] * len(TEXTS)), student.encode(TEXTS)[256], atol=1e-6)


def test_padding_on_the_left_and_a_text_without_tokens(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    config = StudentConfig(model=tiny_qwen2(tmp_path / "qwen2", padding_side="left"), heads=(8, 16), default_head=16, max_tokens=32)
    export_student(Student.build(config, 3), folder, card=None)
    student = StudentEncoder.load(folder, device="cpu")
    texts = [*TEXTS, ""]
    vectors = student.embed_ids([*ids_of(student, texts[:-1]), []], [16] * len(texts))
    np.testing.assert_allclose(vectors[:-1], student.encode(texts[:-1])[16], atol=1e-5)
    assert np.isfinite(vectors[-1]).all()


def test_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path / "cache"))
    student = StudentEncoder.load(tiny_published(tmp_path / "model", tmp_path / "bert"), backend="openvino-int8")
    vectors = student.embed_ids(ids_of(student, TEXTS), [DEFAULT] * len(TEXTS))
    np.testing.assert_allclose(vectors, student.encode(TEXTS)[DEFAULT], atol=1e-5)


def test_no_texts(tmp_path: Path) -> None:
    student = StudentEncoder.load(tiny_published(tmp_path / "model", tmp_path / "bert"), device="cpu")
    assert student.embed_ids([], []) == []
    assert student.default_head == DEFAULT
