"""Token ids read ahead are those that the model's own tokenizer gives, uncut and cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import Encoder, Tokens
from mtd_ray.errors import MtdError
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2

TEXTS = [*sentences(5), "", "the", "array [SEP] of [MASK] ##s", "naïve 日本 😀", " spaces\n\nand\ttabs ", "matrix " * 90]


@pytest.fixture(params=["bert", "qwen2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> SentenceTransformer:
    folder = (tiny_bert if request.param == "bert" else tiny_qwen2)(tmp_path)
    return Encoder.load(folder, max_tokens=16, device="cpu").model


@pytest.mark.parametrize("prompt", ["", "find the "])
def test_as_the_model_s_tokenizer_reads_them(model: SentenceTransformer, prompt: str) -> None:
    tokens, own = Tokens.of(model), model[0].tokenizer
    written = [prompt + text for text in TEXTS]
    read = tokens.read(TEXTS, prompt)
    assert read == own(written, truncation=False)["input_ids"]
    assert [tokens.cut(ids) for ids in read] == own(written, truncation=True)["input_ids"]


def test_texts_that_lose_their_beginning(model: SentenceTransformer) -> None:
    model[0].tokenizer.truncation_side = "left"
    tokens = Tokens.of(model)
    text = " ".join(sentences(6))
    (cut,) = model[0].tokenizer([text], truncation=True)["input_ids"]
    assert tokens.cut(tokens.read([text])[0]) == cut
    assert len(cut) == 16


@pytest.mark.parametrize("prompt", ["", "find the "])
def test_ids_with_and_without_special_tokens_are_the_text(model: SentenceTransformer, prompt: str) -> None:
    tokens = Tokens.of(model)
    for text in ("sort the list", "the"):
        expected = tokens.read([text], prompt)[0]
        for special in (True, False):
            ids = model[0].tokenizer(text, add_special_tokens=special)["input_ids"]
            assert tokens.complete(ids, prompt) == expected
    assert tokens.complete([], prompt) == tokens.read([""], prompt)[0]


def test_a_static_model_has_no_special_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    encoder = Encoder.load("package:wordllama", max_tokens=4, device="cpu")
    tokens = Tokens.of(encoder.model)
    ids = tokens.read(["one two three four five", "cat", ""])
    assert len(ids[0]) > 4
    assert [len(tokens.cut(row)) for row in ids] == encoder.count_tokens(["one two three four five", "cat", ""])
    assert tokens.complete(ids[1]) == ids[1]


def test_token_types_cannot_be_left_out(tmp_path: Path) -> None:
    folder = Path(tiny_bert(tmp_path))
    file = json.loads((folder / "tokenizer.json").read_text())
    file["post_processor"]["single"][1]["Sequence"]["type_id"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(MtdError, match="gives token types"):
        Tokens.of(Encoder.load(str(folder), max_tokens=16, device="cpu").model)


def test_ids_of_another_tokenizer_are_known_by_what_they_stand_for(tmp_path: Path) -> None:
    tokens = Tokens.of(Encoder.load(tiny_bert(tmp_path), max_tokens=16, device="cpu").model)
    for ids in tokens.read([text for text in TEXTS if text]):
        assert tokens.is_reading(ids)
        assert tokens.is_reading(ids[1:-1])
    (long,) = tokens.read(["bcd " * 10])
    assert tokens.is_reading(long[2:-2]), "cut in the middle of words"
    ((_, a, _), (_, _, s, _)) = tokens.read(["a", "bs"])
    assert not tokens.is_reading([a, s] * 6), "that is: as as as, and there is a token for as"


def test_nothing_is_refused_for_a_tokenizer_that_cannot_write_down_what_it_read(model: SentenceTransformer) -> None:
    model[0].tokenizer.backend_tokenizer.decoder = None
    tokens = Tokens.of(model)
    (ids,) = tokens.read(["bcd efg"])
    assert tokens.is_reading(ids)
    assert tokens.is_reading(ids[::-1])


def test_tokens_that_the_model_has_no_row_for(tmp_path: Path) -> None:
    model = Encoder.load(tiny_bert(tmp_path), max_tokens=16, device="cpu").model
    known = Tokens.of(model)
    model[0].tokenizer.add_tokens(["<one>", "<two>"])
    more = Tokens.of(model)
    assert (known.strangers, more.vocabulary, more.strangers) == (0, known.vocabulary, 2)
