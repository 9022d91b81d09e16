"""Ids that a client's own tokenizer made are not read as the model's."""

from __future__ import annotations

from time import perf_counter

import pytest
import tiktoken

from mtd_ray.errors import MtdError
from serve.engine.checks import Checks
from serve.engine.input_ids import Meaning
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from serve.engine.question import Question
from serve.wire.faults import ApiError
from tests.tiny_export import PROMPTS


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """A vocabulary of bytes in the place of OpenAI's, which cannot be fetched here."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    vocabulary = tiktoken.Encoding("cl100k_base", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", {"cl100k_base": vocabulary}.__getitem__)
    return vocabulary


def read(tiny: ServedModel, meaning: Meaning, row: list[int], prompt_name: str | None = None) -> list[int]:
    checks = Checks({"tiny": tiny}, Limits(), input_ids=meaning)
    question = Question(None, [row], None, prompt_name)
    return checks.ids(question, checks.target(question))[0]


def test_ids_that_are_no_text_of_this_model_are_refused(tiny: ServedModel) -> None:
    (ids,) = tiny.tokenize(["sort the list of numbers"])
    assert read(tiny, "own", ids) == ids
    (whole, letter) = (tiny.tokenize([text])[0] for text in ("a", "bs"))
    foreign = [whole[1], letter[2]] * 3  # a ##s a ##s: read as "as as", where "as" is a token
    with pytest.raises(ApiError, match="check_embedding_ctx_length=False") as fault:
        read(tiny, "own", foreign)
    assert (fault.value.status, fault.value.param, fault.value.code) == (400, "input", "foreign_token_ids")


def test_ids_of_openai_stand_for_their_text(tiny: ServedModel, openai: tiktoken.Encoding) -> None:
    ids = openai.encode_ordinary("sort the list")
    assert read(tiny, "cl100k_base", ids) == tiny.tokenize(["sort the list"])[0]
    assert read(tiny, "cl100k_base", ids, "query") == tiny.tokenize(["sort the list"], PROMPTS["query"])[0]
    for wrong in (256, 10**30):
        with pytest.raises(ApiError, match=rf"token id {wrong} of input 0 is not in cl100k_base"):
            read(tiny, "cl100k_base", [97, wrong])


def test_a_server_may_take_no_ids(tiny: ServedModel) -> None:
    with pytest.raises(ApiError, match="takes no token ids") as fault:
        read(tiny, "refuse", [5, 6])
    assert fault.value.status == 400


def test_a_vocabulary_that_cannot_be_had_is_told_at_the_start(tiny: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> tiktoken.Encoding:
        raise ConnectionError

    monkeypatch.setattr(tiktoken, "get_encoding", unreachable)
    with pytest.raises(MtdError, match="TIKTOKEN_CACHE_DIR"):
        Checks({"tiny": tiny}, Limits(), input_ids="cl100k_base")


@pytest.mark.parametrize("truncate", [False, True])
def test_however_many_ids_are_foreign_they_are_refused_at_once(tiny: ServedModel, truncate: bool) -> None:
    (whole, letter) = (tiny.tokenize([text])[0] for text in ("a", "bs"))
    checks = Checks({"tiny": tiny}, Limits())
    question = Question(None, [[whole[1], letter[2]] * 150_000], None, truncate=truncate)
    started = perf_counter()
    with pytest.raises(ApiError):
        checks.ids(question, checks.target(question))
    assert perf_counter() - started < 0.1


def test_ids_of_a_text_that_is_cut_are_read_as_the_text(tiny: ServedModel) -> None:
    checks = Checks({"tiny": tiny}, Limits())
    text = "sort the list of numbers " * 200
    (ids,) = tiny.tokenize([text])
    for prompt_name in (None, "query"):
        read = [
            checks.ids(question, checks.target(question))[0]
            for row in (text, ids, ids[1:-1])
            for question in [Question(None, [row], None, prompt_name, truncate=True)]
        ]
        assert read[0] == read[1] == read[2]
