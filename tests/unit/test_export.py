"""What is exported is the student that was trained, for whoever loads it and however texts are batched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mtd_ray.config import StudentConfig
from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import MtdError
from mtd_ray.export import export_student, exported_dtype
from mtd_ray.student import Student, pad_tokens, tokenize
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2

TEXTS = [*sentences(12), "array " * 200, "the"]
HEADS = (24, 8, 16)
PROMPTS = {"s2p_query": "find the file. ", "s2s_query": "sort: "}


@pytest.fixture(scope="module", params=["bert-mean", "bert-mean-nested", "bert-cls", "qwen2-mean", "qwen2-last", "qwen2-mean-left"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Student:
    kind, pooling, *form = request.param.split("-")
    base = tmp_path_factory.mktemp("base")
    model = tiny_bert(base) if kind == "bert" else tiny_qwen2(base, padding_side="left" if "left" in form else "right")
    config = StudentConfig(
        model=model,
        pooling=pooling,
        max_tokens=40,
        heads=HEADS,
        matryoshka="nested" if "nested" in form else "independent",
        default_head=16,
        prompts=PROMPTS,
    )
    return Student.build(config, seed=5)


@pytest.fixture(scope="module")
def folder(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "student"
    export_student(student, path, card=None)
    return path


@torch.inference_mode()
def trained_vectors(student: Student, texts: list[str], prompt: str = "") -> dict[int, Any]:
    """The student's own forward pass, one text at a time: no padding at all."""
    rows = []
    for text in texts:
        ids, mask = pad_tokens(student.tokenizer, tokenize(student.tokenizer, [prompt + text], student.config.max_tokens))
        rows.append(student.project(student.pool(ids, mask), HEADS))
    return {head: torch.cat([row[head] for row in rows]).numpy() for head in HEADS}


def test_plain_load_gives_the_default_head(student: Student, folder: Path) -> None:
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=4), trained_vectors(student, TEXTS)[16], atol=1e-5)
    assert model.max_seq_length == 40
    assert model.similarity_fn_name == "cosine"


def test_every_head_by_editing_modules_json(student: Student, folder: Path, tmp_path: Path) -> None:
    import shutil

    expected = trained_vectors(student, TEXTS)
    for head in HEADS:
        edited = tmp_path / str(head)
        shutil.copytree(folder, edited)
        modules = (edited / "modules.json").read_text().replace("2_Dense_16", f"2_Dense_{head}")
        (edited / "modules.json").write_text(modules)
        np.testing.assert_allclose(SentenceTransformer(str(edited), device="cpu").encode(TEXTS), expected[head], atol=1e-5)


def test_student_encoder_gives_every_head_in_one_pass(student: Student, folder: Path) -> None:
    encoder = StudentEncoder.load(folder, device="cpu", batch_tokens=64)
    assert (encoder.heads, encoder.default_head, encoder.prompts) == ((8, 16, 24), 16, PROMPTS)
    vectors = encoder.encode(TEXTS, heads=encoder.heads)
    for head, expected in trained_vectors(student, TEXTS).items():
        np.testing.assert_allclose(vectors[head], expected, atol=1e-5)
    assert list(encoder.encode(TEXTS[:2])) == [16]


def test_prompts(student: Student, folder: Path) -> None:
    prompt = PROMPTS["s2p_query"]
    expected = trained_vectors(student, TEXTS, prompt)[16]
    model = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(model.encode(TEXTS, prompt_name="s2p_query"), expected, atol=1e-5)
    np.testing.assert_allclose(StudentEncoder.load(folder).encode(TEXTS, prompt=prompt)[16], expected, atol=1e-5)


def test_padding_and_company_do_not_matter(folder: Path) -> None:
    encoder = StudentEncoder.load(folder, device="cpu", batch_tokens=10_000)
    together = encoder.encode(TEXTS)[16]
    alone = np.concatenate([encoder.encode([text])[16] for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_empty_text_is_embedded_as_in_training(student: Student, folder: Path) -> None:
    encoder = StudentEncoder.load(folder, device="cpu")
    expected = trained_vectors(student, [""])[16]
    np.testing.assert_allclose(encoder.encode([""])[16], expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(["the array", ""])[16][1:], expected, atol=1e-5)


def test_exported_attention_is_bidirectional(folder: Path) -> None:
    model: Any = SentenceTransformer(str(folder), device="cpu")[0].auto_model
    with torch.inference_mode():
        first, second = model(input_ids=torch.tensor([[2, 5, 6], [2, 5, 7]])).last_hidden_state[:, 0]
    assert not torch.equal(first, second)
    assert json.loads((folder / "config.json").read_text())["is_causal"] is False


def test_tokens_are_counted_with_the_prompt(student: Student, folder: Path) -> None:
    encoder = StudentEncoder.load(folder)
    expected = [len(ids) for ids in tokenize(student.tokenizer, ["sort the array", "sort " + "array " * 200], 40)]
    assert encoder.count_tokens(["the array", "array " * 200], prompt="sort ") == expected
    assert expected[1] == 40


def test_only_safetensors_is_written(folder: Path) -> None:
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_unknown_head(folder: Path) -> None:
    with pytest.raises(MtdError, match="no head of size 99; it has 8, 16, 24"):
        StudentEncoder.load(folder).encode(["a"], heads=[99])


def test_no_texts(folder: Path) -> None:
    assert {head: vectors.shape for head, vectors in StudentEncoder.load(folder).encode([], heads=[8, 24]).items()} == {
        8: (0, 8),
        24: (0, 24),
    }


def test_sizes_of_a_nested_student_are_prefixes_of_each_other(student: Student, folder: Path) -> None:
    vectors = StudentEncoder.load(folder, device="cpu").encode(TEXTS[:3], heads=HEADS)
    nested = student.config.matryoshka == "nested"
    assert np.allclose(vectors[24][:, :8], vectors[8], atol=1e-6) == nested
    sizes = {head: (folder / f"2_Dense_{head}" / "model.safetensors").stat().st_size for head in HEADS}
    assert sizes[8] < sizes[16] < sizes[24]


def test_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MtdError, match="not an exported student"):
        StudentEncoder.load(tmp_path)


def test_full_folder_is_not_overwritten(student: Student, folder: Path) -> None:
    with pytest.raises(MtdError, match="not empty"):
        export_student(student, folder, card=None)


def test_truncating_a_nested_student_gives_its_smaller_sizes(student: Student, folder: Path) -> None:
    shorter = SentenceTransformer(str(folder), device="cpu", truncate_dim=8).encode(TEXTS[:3])
    same = np.allclose(shorter, trained_vectors(student, TEXTS[:3])[8], atol=1e-5)
    assert same == (student.config.matryoshka == "nested")


def test_bfloat16_is_half_as_large_and_loads_everywhere(student: Student, folder: Path, tmp_path: Path) -> None:
    export_student(student, tmp_path / "half", card=None, dtype="bfloat16")
    assert exported_dtype(tmp_path / "half") == "bfloat16"
    assert exported_dtype(folder) == "float32"
    assert next(student.backbone.parameters()).dtype == torch.float32
    sizes = [sum(path.stat().st_size for path in place.rglob("*.safetensors")) for place in (folder, tmp_path / "half")]
    assert sizes[1] < 0.7 * sizes[0]
    ours = StudentEncoder.load(tmp_path / "half", device="cpu").encode(TEXTS)[16]
    plain = SentenceTransformer(str(tmp_path / "half"), device="cpu").encode(TEXTS)
    for vectors in (ours, np.asarray(plain, np.float32)):
        assert cosines(vectors, trained_vectors(student, TEXTS)[16]).min() > 0.99


def test_large_weights_are_written_in_several_files(student: Student, tmp_path: Path) -> None:
    export_student(student, tmp_path / "shards", card=None, shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("model-*-of-*.safetensors"))) > 1
    expected = trained_vectors(student, TEXTS[:3])[16]
    np.testing.assert_allclose(SentenceTransformer(str(tmp_path / "shards"), device="cpu").encode(TEXTS[:3]), expected, atol=1e-5)
    np.testing.assert_allclose(StudentEncoder.load(tmp_path / "shards").encode(TEXTS[:3])[16], expected, atol=1e-5)


def cosines(one: Any, other: Any) -> Any:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
