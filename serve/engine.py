"""Requests → vectors: what is asked for is checked, cut into chunks, and chunks of several requests share one forward pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import MtdError
from serve.schemas import MAX_INPUTS, MAX_REQUEST_TOKENS, ApiError, EmbeddingsRequest, Vectors
from serve.tokens import Tokens


@dataclass(frozen=True)
class Chunk:
    """Texts that go through the model together: at most a batch's worth of tokens, prompts already in place."""

    texts: tuple[str, ...]
    tokens: int
    head: int


@dataclass(frozen=True)
class Work:
    """A checked request: its chunks in the order of its inputs, and the tokens the model will read."""

    chunks: tuple[Chunk, ...]
    tokens: int


Embed = Callable[[Chunk], Awaitable[Vectors]]


class Engine:
    """The student and everything a request is checked against.

    Checking runs in a few threads, the model in one of its own, so that an event loop stays free for other requests.

    Args:
        encoder: the student.
        tokens: its tokenizer.
        name: what clients call the model.
        batch_tokens: tokens given to the encoder at once; at least the longest text the student reads.
    """

    def __init__(self, encoder: StudentEncoder, tokens: Tokens, *, name: str, batch_tokens: int) -> None:
        if batch_tokens < encoder.max_tokens:
            raise MtdError(
                f"batch_tokens {batch_tokens} is less than the {encoder.max_tokens} tokens of the student's longest text"
            )
        self.name = name
        self.heads = encoder.heads
        self.max_tokens = encoder.max_tokens
        self.prompts = encoder.prompts
        self.default_head = encoder.default_head
        self.batch_tokens = batch_tokens
        self._encoder = encoder
        self._tokens = tokens
        self._checks = ThreadPoolExecutor(2, "check")
        self._device = ThreadPoolExecutor(1, "model")

    @classmethod
    def load(cls, folder: Path, *, name: str, batch_tokens: int = 8_192, device: str | None = None) -> Engine:
        """Load an exported folder.

        Raises:
            MtdError: it is missing, damaged, or not an exported student.
        """
        # On a CPU the encoder's own smaller batches are faster.
        on_gpu = device != "cpu" and torch.cuda.is_available()
        encoder = StudentEncoder.load(folder, device=device, batch_tokens=batch_tokens if on_gpu else None)
        return cls(encoder, Tokens.load(folder), name=name, batch_tokens=batch_tokens)

    @property
    def probe(self) -> Chunk:
        """The smallest piece of work; the model is alive when it is answered."""
        return Chunk(("ok",), self._tokens.count(["ok"])[0], self.default_head)

    async def prepare(self, request: EmbeddingsRequest) -> Work:
        """Check a request and cut it into chunks.

        Raises:
            ApiError: saying what is wrong with the request and what would be right.
        """
        return await asyncio.get_running_loop().run_in_executor(self._checks, self._prepare, request)

    async def embed(self, chunks: Sequence[Chunk]) -> list[Vectors]:
        """Vectors (texts, head) of each chunk, from one pass of the backbone over all of them."""
        return await asyncio.get_running_loop().run_in_executor(self._device, self._embed, chunks)

    async def embed_one(self, chunk: Chunk) -> Vectors:
        """As :meth:`embed`, for callers that do not gather chunks."""
        return (await self.embed([chunk]))[0]

    def _prepare(self, request: EmbeddingsRequest) -> Work:
        self._check_model(request.model)
        head = self._head(request.dimensions)
        prompt = self._prompt(request.prompt_name)
        texts = [prompt + text for text in self._texts(request.rows)]
        lengths = self._lengths(texts, request.truncate)
        return Work(tuple(self._chunks(texts, lengths, head)), sum(lengths))

    def _check_model(self, model: str | None) -> None:
        if model not in (None, self.name):
            raise ApiError(
                f"the model {model!r} is not served here; this server has {self.name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def _head(self, dimensions: int | None) -> int:
        if dimensions is None:
            return self.default_head
        if dimensions not in self.heads:
            sizes = ", ".join(map(str, self.heads))
            raise ApiError(f"this model has no vectors of {dimensions} dimensions; it has {sizes}", param="dimensions")
        return dimensions

    def _prompt(self, name: str | None) -> str:
        if name is None:
            return ""
        if name not in self.prompts:
            known = ", ".join(sorted(self.prompts)) or "none"
            raise ApiError(f"this model has no prompt {name!r}; its prompts: {known}", param="prompt_name")
        return self.prompts[name]

    def _texts(self, rows: Sequence[str | list[int]]) -> Iterator[str]:
        if not rows:
            raise ApiError("'input' is an empty list; it must hold at least one text", param="input")
        if len(rows) > MAX_INPUTS:
            raise ApiError(f"'input' holds {len(rows)} texts; one request may hold {MAX_INPUTS}", param="input")
        for index, row in enumerate(rows):
            text = row if isinstance(row, str) else self._tokens.text(row)
            if not text:
                raise ApiError(f"input {index} is an empty text", param="input")
            yield text

    def _lengths(self, texts: Sequence[str], truncate: bool) -> list[int]:
        lengths = self._tokens.count(texts)
        if truncate:
            lengths = [min(length, self.max_tokens) for length in lengths]
        for index, length in enumerate(lengths):
            if length > self.max_tokens:
                raise ApiError(
                    f"input {index} has {length} tokens; this model reads at most {self.max_tokens}. "
                    'Shorten it, or send "truncate": true to have the beginning embedded',
                    param="input",
                    code="context_length_exceeded",
                )
        if (total := sum(lengths)) > MAX_REQUEST_TOKENS:
            raise ApiError(f"the inputs have {total} tokens together; one request may hold {MAX_REQUEST_TOKENS}", param="input")
        return lengths

    def _chunks(self, texts: Sequence[str], lengths: Sequence[int], head: int) -> Iterator[Chunk]:
        start, tokens = 0, 0
        for index, length in enumerate(lengths):
            if index > start and tokens + length > self.batch_tokens:
                yield Chunk(tuple(texts[start:index]), tokens, head)
                start, tokens = index, 0
            tokens += length
        yield Chunk(tuple(texts[start:]), tokens, head)

    def _embed(self, chunks: Sequence[Chunk]) -> list[Vectors]:
        texts = [text for chunk in chunks for text in chunk.texts]
        vectors = self._encoder.encode(texts, heads=sorted({chunk.head for chunk in chunks}))
        answers = []
        start = 0
        for chunk in chunks:
            answer = vectors[chunk.head][start : start + len(chunk.texts)]
            if not np.isfinite(answer).all():
                raise FloatingPointError(f"the model gave a value that is not finite for one of {len(chunk.texts)} texts")
            answers.append(answer)
            start += len(chunk.texts)
        return answers
