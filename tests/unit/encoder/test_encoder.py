"""The encoder gives what the model's own encode gives."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import Encoder
from mtd_ray.errors import MtdError
from tests.tiny_models import tiny_qwen2

WORDS = ("return", "the", "array", "of values", "raises", "tensor", "naïve", "日本", "😀", "x1", ",")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Mixed lengths, out of order, one far over the model's limit, one empty."""
    rng = random.Random(3)
    made = [" ".join(rng.choices(WORDS, k=int(rng.lognormvariate(2, 1)) + 1)) for _ in range(60)]
    return [*made, "word " * 700, "", "short"]


@pytest.fixture(scope="module")
def reference(minilm: str) -> Any:
    return SentenceTransformer(minilm, device="cpu")


@pytest.fixture(scope="module")
def encoder(minilm: str) -> Encoder:
    return Encoder.load(minilm, max_tokens=512, device="cpu", batch_tokens=300)


@pytest.mark.parametrize("prompt", ["", "query: "])
def test_equals_sentence_transformers(encoder: Encoder, reference: Any, texts: list[str], prompt: str) -> None:
    expected = reference.encode(texts, prompt=prompt, show_progress_bar=False)
    vectors = encoder.encode(texts, prompt=prompt)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_batches_do_not_change_vectors(minilm: str, encoder: Encoder, texts: list[str]) -> None:
    one_batch = Encoder.load(minilm, max_tokens=512, device="cpu", batch_tokens=10**6)
    np.testing.assert_allclose(encoder.encode(texts[:20]), one_batch.encode(texts[:20]), atol=1e-5)


def test_a_given_batch_size_is_obeyed_on_a_cpu(minilm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    assert Encoder.load(minilm, max_tokens=64, device="cpu", batch_tokens=100_000).batch_tokens == 100_000
    eight = Encoder.load(minilm, max_tokens=64, device="cpu").batch_tokens
    monkeypatch.setattr("torch.get_num_threads", lambda: 16)
    assert Encoder.load(minilm, max_tokens=64, device="cpu").batch_tokens == 2 * eight


def test_windows_keep_the_order(encoder: Encoder, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoder.encode(texts[:25])
    monkeypatch.setattr("mtd_ray.encoder.encoder._WINDOW_ROWS", 10)
    np.testing.assert_allclose(encoder.encode(texts[:25]), whole, atol=1e-5)


def test_max_tokens_cuts(minilm: str) -> None:
    short = Encoder.load(minilm, max_tokens=8, device="cpu")
    assert short.max_tokens == 8
    vectors = short.encode(["one two three four five six seven", "one two three four five six eight nine"])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_max_tokens_never_above_the_models_own(minilm: str) -> None:
    assert Encoder.load(minilm, max_tokens=100_000, device="cpu").max_tokens == 256


def test_tokens_are_counted_as_read(encoder: Encoder) -> None:
    assert encoder.count_tokens(["hello", "word " * 700]) == [3, 256]
    assert encoder.count_tokens(["hello"], prompt="query: ") == [5]
    assert encoder.embed(["hello", "hello"]).tokens == 6


def test_no_texts(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.count_tokens([]) == []


def test_static_model_cuts_and_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    encoder = Encoder.load("package:wordllama", max_tokens=4, device="cpu", batch_tokens=16)
    texts = ["one two three four five", "one two three four six", "cat", "a b c d"]
    reference = SentenceTransformer(encoder_folder(tmp_path), device="cpu")
    reference[0].tokenizer.enable_truncation(4)
    for prompt in ("", "find: "):
        np.testing.assert_allclose(encoder.encode(texts, prompt=prompt), reference.encode(texts, prompt=prompt), atol=1e-6)
    assert encoder.count_tokens(texts)[0] == 4


def encoder_folder(cache: Path) -> str:
    return str(next(cache.iterdir()))


def test_prompt_left_out_of_pooling(minilm: str, tmp_path: Path, texts: list[str]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder)
    config = json.loads((folder / "1_Pooling" / "config.json").read_text()) | {"include_prompt": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    encoder = Encoder.load(str(folder), max_tokens=256, device="cpu")
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts[:10], prompt="a long query: ")
    np.testing.assert_allclose(encoder.encode(texts[:10], prompt="a long query: "), expected, atol=1e-5)


def test_low_precision_comes_out_as_float32(minilm: str, encoder: Encoder) -> None:
    half = Encoder.load(minilm, max_tokens=64, device="cpu", dtype="bfloat16")
    vectors = half.encode(["return the array"])
    assert vectors.dtype == np.float32
    assert float(vectors[0] @ encoder.encode(["return the array"])[0]) > 0.99


def test_broken_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MtdError, match="cannot be loaded"):
        Encoder.load(str(tmp_path), max_tokens=64)


def test_broken_weights_are_named(minilm: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder)
    (folder / "model.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(MtdError, match="cannot be loaded"):
        Encoder.load(str(folder), max_tokens=64)


def test_empty_text_where_the_tokenizer_adds_nothing(tmp_path: Path) -> None:
    folder = Path(tiny_qwen2(tmp_path / "qwen2"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    encoder = Encoder.load(str(folder), max_tokens=32, device="cpu")
    assert encoder.count_tokens([""]) == [1]
    alone = encoder.encode([""])
    assert np.isfinite(alone).all()
    assert alone.any()
    np.testing.assert_allclose(encoder.encode(["the array", ""])[1:], alone, atol=1e-5)
