"""However long a text is, only what may be taken of it is tokenised, and gives the ids of the whole."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from serve.engine.model import ServedModel
from serve.engine.reading import Reader
from serve.wire.faults import ApiError
from tests.tiny_export import MAX_TOKENS
from tests.tiny_models import tiny_qwen2


@pytest.fixture(params=["bert", "qwen2"])
def model(request: pytest.FixtureRequest, tiny: ServedModel, tmp_path: Path) -> ServedModel:
    if request.param == "bert":
        return tiny
    return ServedModel.load(tiny_qwen2(tmp_path), name="qwen2", device="cpu", batch_tokens=64)


def text_of(draw: Random, characters: int) -> str:
    words = ("sort", "the", "list", "naïve", "日本語", "don't", "12.5", "x" * 40, "{}();", "…")
    gaps = (" ", " ", " ", "\n", "\n\n", "   ", "\t", "\u00a0", ". ", "。\n")
    pieces: list[str] = []
    while sum(map(len, pieces)) < characters:
        pieces += [draw.choice(words), draw.choice(gaps)]
    return "".join(pieces)


@pytest.mark.parametrize("prompt", ["", "find the "])
def test_a_long_text_is_cut_as_the_whole_is(model: ServedModel, prompt: str) -> None:
    texts = [text_of(Random(seed), 20_000 + seed) for seed in range(40)]
    texts += [" " * 15_000 + "sort", "日本" * 10_000, "list " * 5]
    whole = model.tokenize(texts, prompt)
    read = Reader(model, 300_000).read(texts, prompt)
    assert [model.cut(ids) for ids in read] == [model.cut(ids) for ids in whole]
    assert sum(map(len, read)) < sum(map(len, whole))


def test_of_the_longest_text_little_is_tokenised(tiny: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenized: list[int] = []
    tokenize = tiny.tokenize

    def watched(texts: list[str], prompt: str = "") -> list[list[int]]:
        tokenized.append(sum(map(len, texts)))
        return tokenize(texts, prompt)

    monkeypatch.setattr(tiny, "tokenize", watched)
    reader = Reader(tiny, 300_000)
    assert len(reader.read(["list " * 1_600_000])[0]) > MAX_TOKENS
    assert sum(tokenized) <= 10_000
    for strange in ("x" * 8_000_000, " " * 8_000_000):
        with pytest.raises(ApiError, match="8000000 characters"):
            reader.read(["sum", strange])
    with pytest.raises(ApiError, match="more than 300"):
        Reader(tiny, 300).read(["sort the list " * 1_000] * 500)
    assert max(tokenized) <= 500_000
