"""Checks, chunks and shared forward passes over a tiny student."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import MtdError
from serve.engine import Chunk, Engine, Work
from serve.schemas import ApiError, EmbeddingsRequest
from tests.tiny_export import DEFAULT_HEAD, HEADS, MAX_TOKENS, PROMPTS
from tests.tiny_models import sentences


def prepare(engine: Engine, **fields: Any) -> Work:
    return asyncio.run(engine.prepare(EmbeddingsRequest(**fields)))


def refused(engine: Engine, **fields: Any) -> ApiError:
    with pytest.raises(ApiError) as fault:
        prepare(engine, **fields)
    return fault.value


def test_a_large_request_is_cut_into_chunks_that_fit_a_batch(engine: Engine) -> None:
    texts = sentences(50)
    work = prepare(engine, input=texts)
    assert [text for chunk in work.chunks for text in chunk.texts] == texts
    assert len(work.chunks) > 5
    assert all(chunk.tokens <= engine.batch_tokens for chunk in work.chunks)
    assert work.tokens == sum(chunk.tokens for chunk in work.chunks)


def test_requests_of_different_sizes_share_one_pass(engine: Engine, exported: Path) -> None:
    chunks = [Chunk(("sort the list", "a matrix"), 9, 16), Chunk(("read a file",), 5, 48), Chunk(("sum",), 3, 16)]
    alone = StudentEncoder.load(exported, device="cpu")
    for chunk, vectors in zip(chunks, asyncio.run(engine.embed(chunks)), strict=True):
        expected = alone.encode(chunk.texts, heads=[chunk.head])[chunk.head]
        assert vectors.shape == (len(chunk.texts), chunk.head)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_tokens_are_counted_as_the_model_reads_them(engine: Engine) -> None:
    assert prepare(engine, input="sort the list").tokens == 5  # [CLS] sort the list [SEP]
    assert prepare(engine, input="list", prompt_name="query").tokens == 5
    assert prepare(engine, input="list " * 100, truncate=True).tokens == MAX_TOKENS


def test_a_named_prompt_stands_before_every_text(engine: Engine) -> None:
    assert prepare(engine, input=["list", "file"], prompt_name="query").chunks[0].texts == tuple(
        PROMPTS["query"] + text for text in ("list", "file")
    )
    assert "query" in refused(engine, input="list", prompt_name="passage").message


def test_token_ids_stand_for_the_text(engine: Engine) -> None:
    encode = engine._tokens._tokenizer.encode
    with_special, plain = encode("sort the list").ids, encode("sort the list", add_special_tokens=False).ids
    assert prepare(engine, input=[with_special, plain]).chunks[0].texts == ("sort the list", "sort the list")
    assert "vocabulary" in refused(engine, input=[100_000]).message


def test_the_default_size_is_the_exported_one(engine: Engine) -> None:
    assert prepare(engine, input="sum").chunks[0].head == DEFAULT_HEAD


def test_an_unknown_size_is_answered_with_the_known_ones(engine: Engine) -> None:
    fault = refused(engine, input="sum", dimensions=17)
    assert fault.param == "dimensions"
    assert all(str(size) in fault.message for size in HEADS)


def test_a_long_text_is_refused_by_number_unless_cutting_is_allowed(engine: Engine) -> None:
    long = "list " * 100
    fault = refused(engine, input=["sum", long])
    assert "input 1 has 102 tokens" in fault.message
    assert str(MAX_TOKENS) in fault.message
    (chunk,) = prepare(engine, input=long, truncate=True).chunks
    cut = asyncio.run(engine.embed_one(chunk))
    exact = asyncio.run(engine.embed_one(prepare(engine, input="list " * (MAX_TOKENS - 2)).chunks[0]))
    np.testing.assert_allclose(cut, exact, atol=1e-6)


@pytest.mark.parametrize(("given", "said"), [("", "input 0"), (["sum", ""], "input 1"), ([], "empty list"), (["a"] * 2049, "2049")])
def test_empty_and_endless_inputs_are_refused(engine: Engine, given: Any, said: str) -> None:
    assert said in refused(engine, input=given).message


def test_another_model_is_not_found(engine: Engine) -> None:
    fault = refused(engine, input="sum", model="text-embedding-3-small")
    assert (fault.status, fault.code) == (404, "model_not_found")
    assert "'tiny'" in fault.message


def test_a_batch_must_hold_the_longest_text(exported: Path) -> None:
    with pytest.raises(MtdError, match="longest text"):
        Engine.load(exported, name="tiny", batch_tokens=MAX_TOKENS - 1, device="cpu")


def test_a_folder_without_heads_is_named(tmp_path: Path) -> None:
    with pytest.raises(MtdError, match=str(tmp_path)):
        Engine.load(tmp_path, name="tiny")
