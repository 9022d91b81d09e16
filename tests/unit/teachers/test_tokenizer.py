"""Exact counts with tokenizers made here: nothing is fetched."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import tiktoken
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from mtd_ray.config import OpenAITeacher, VoyageTeacher
from mtd_ray.teachers import tokenizer
from mtd_ray.teachers.batches import TokenEstimate
from mtd_ray.teachers.tokenizer import ExactTokens, token_count

KEY = "env:UNIT_KEY"
OPENAI = OpenAITeacher(provider="openai", model="text-embedding-3-large", dimensions=8, api_key=KEY)
VOYAGE = VoyageTeacher(provider="voyage", model="voyage-4", dimensions=8, api_key=KEY)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_loaded", {})


def bytes_and_pairs() -> tiktoken.Encoding:
    """Every byte is a token, and so is "ab"."""
    ranks = {bytes([value]): value for value in range(256)} | {b"ab": 256}
    return tiktoken.Encoding("tiny", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|end|>": 257})


def test_openais_tokens_are_counted_with_its_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: asked.append(name) or bytes_and_pairs())
    count = token_count(OPENAI)
    assert count.of("abab c") == 4
    assert count.of("<|end|>") == 7, "text, not a command"
    assert count.of("") == 1
    token_count(OPENAI)
    assert asked == ["cl100k_base"], "loaded once for all clients"


def test_voyages_tokens_are_counted_with_its_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = Tokenizer(WordLevel({"one": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.enable_truncation(2)
    words.save(str(tmp_path / "tokenizer.json"))

    def from_the_cache(repository: str, name: str, local_files_only: bool) -> str:
        assert repository == "voyageai/voyage-4"
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", from_the_cache)
    assert token_count(VOYAGE).of("one two three four") == 4


def test_without_the_file_tokens_are_estimated_and_that_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_network(name: str) -> tiktoken.Encoding:
        raise ConnectionError("no route")

    monkeypatch.setattr(tiktoken, "get_encoding", no_network)
    with caplog.at_level(logging.INFO):
        assert isinstance(token_count(OPENAI), TokenEstimate)
        assert isinstance(token_count(OPENAI), TokenEstimate)
    assert [record.getMessage().count("no route") for record in caplog.records] == [1]


def test_a_network_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(tokenizer, "_PATIENCE_S", 0.02)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: answer.wait())
    assert isinstance(token_count(OPENAI), TokenEstimate)
    answer.set()


def test_a_model_the_catalogue_does_not_know_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_load", lambda name: pytest.fail("nothing to load"))
    own = OpenAITeacher(provider="openai", model="my-model", base_url="http://my.test/v1", dimensions=8, api_key=KEY)
    assert isinstance(token_count(own), TokenEstimate)


def test_the_bound_holds_for_what_the_provider_was_seen_to_count() -> None:
    count = ExactTokens(len)
    texts = ["x" * 1000]
    assert 1000 < count.most(texts, 1000) < 1200
    count.correct(texts, 1000, 1500)
    assert 1500 <= count.most(texts, 1000) < 1600
    count.correct(texts, 1000, 1000)
    assert count.most(texts, 1000) >= 1500


def test_an_estimates_bound_is_one_token_a_byte() -> None:
    assert TokenEstimate().most(["漢字", "ab"], 3) >= 8
