"""A served model gives the exported vectors, of the sizes that are asked for, whatever shares a pass with them."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import MtdError
from serve.engine.model import ServedModel
from serve.wire.faults import ApiError
from tests.tiny_export import DEFAULT_HEAD, HEADS, MAX_TOKENS, PROMPTS
from tests.tiny_models import sentences, tiny_bert

TEXTS = [*sentences(9), "array " * 100, "the"]


def test_what_clients_are_told(tiny: ServedModel) -> None:
    assert (tiny.name, tiny.sizes, tiny.default_size, tiny.max_tokens) == ("tiny", HEADS, DEFAULT_HEAD, MAX_TOKENS)
    assert (tiny.prompts, tiny.batch_tokens, tiny.packs) == (PROMPTS, 64, True)
    assert [size for size in range(64) if tiny.is_size(size)] == list(HEADS)


@pytest.mark.parametrize("prompt", ["", PROMPTS["query"]])
def test_vectors_are_the_exported_ones(tiny: ServedModel, exported: Path, prompt: str) -> None:
    ids = [tiny.cut(row) for row in tiny.tokenize(TEXTS, prompt)]
    assert max(map(len, ids)) == MAX_TOKENS
    vectors = tiny.embed(ids, [None] * len(TEXTS))
    expected = SentenceTransformer(str(exported), device="cpu").encode(TEXTS, prompt=prompt)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_sizes_are_mixed_in_a_pass(tiny: ServedModel, exported: Path) -> None:
    ids = [tiny.cut(row) for row in tiny.tokenize(TEXTS)]
    sizes = [(None, 16, 48)[row % 3] for row in range(len(ids))]
    expected = StudentEncoder.load(exported, device="cpu").encode(TEXTS, heads=HEADS)
    for row, (vector, size) in enumerate(zip(tiny.embed(ids, sizes), sizes, strict=True)):
        np.testing.assert_allclose(vector, expected[size or DEFAULT_HEAD][row], atol=1e-5)


def test_ids_of_a_client_are_the_text(tiny: ServedModel) -> None:
    ids = tiny.tokenize(["sort the list"])
    assert tiny.from_ids([ids[0], ids[0][1:-1]], "") == ids * 2
    assert tiny.from_ids(ids, PROMPTS["query"]) == tiny.tokenize(["sort the list"], PROMPTS["query"])


@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_an_id_that_is_not_in_the_vocabulary_is_refused(tiny: ServedModel, wrong: int) -> None:
    with pytest.raises(ApiError, match=rf"token id {wrong} of input 1 is not in this model's vocabulary of \d+") as fault:
        tiny.from_ids([[5], [6, wrong]], "")
    assert (fault.value.status, fault.value.param) == (400, "input")


def test_many_threads_tokenise_at_once(tiny: ServedModel) -> None:
    expected = tiny.tokenize(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        assert all(rows == expected for rows in pool.map(lambda _: tiny.tokenize(TEXTS), range(200)))


def test_a_plain_model_is_served_in_its_one_size(tmp_path: Path) -> None:
    model = ServedModel.load(tiny_bert(tmp_path), name="plain", device="cpu")
    assert (model.sizes, model.default_size, model.is_size(31)) == ((32,), 32, False)
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(model.embed(model.tokenize(TEXTS[:9]), [None] * 9), expected[:9], atol=1e-5)


def test_prompts_that_are_not_pooled_cannot_be_served(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    config = folder / "1_Pooling" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"include_prompt": False}))
    with pytest.raises(MtdError, match=r"leaves its prompts out of pooling.*\"include_prompt\": true"):
        ServedModel.load(folder, name="tiny", device="cpu")


def test_a_limit_that_the_model_cannot_keep_is_found_before_a_client_comes(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    config = folder / "sentence_bert_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_seq_length": 65}))  # its table has 64 positions
    tokenizer = folder / "tokenizer_config.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()) | {"model_max_length": 65}))
    with pytest.raises(MtdError, match=r"cannot embed a text of 65 tokens: .*; set max_seq_length in sentence_bert_config\.json"):
        ServedModel.load(folder, name="tiny", device="cpu")


def test_nothing_is_compiled_on_a_cpu(exported: Path) -> None:
    with pytest.raises(MtdError, match="compiled on a GPU only: leave out compiled"):
        ServedModel.load(exported, name="tiny", device="cpu", compiled=True)
