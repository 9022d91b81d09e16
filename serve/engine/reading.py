"""Texts → token ids, in bounded memory however long the texts are: tokenising one takes hundreds of times its length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serve.wire.faults import ApiError

if TYPE_CHECKING:
    from serve.engine.model import ServedModel

# So much of a text is always read, so that its tokens are counted exactly.
_ALWAYS_CHARACTERS = 10_000
# Of usual texts a token has four characters. A beginning that turns out to be too short is read again, twice as long, up to a
# length at which it is no text any more.
_USUAL_CHARACTERS, _MOST_CHARACTERS = 6, 64
_MOST_CHARACTERS_AT_ALL = 200_000
# Characters that are tokenised at once.
_AT_ONCE = 500_000
# Ids before a cut at white space that may be others than in the whole text. Tokenizers split there; this is for the rest.
_MARGIN = 16
_WORD_END = re.compile(r"\S(?=\s)")
_NEAR = 2_000


class Reader:
    """Reads texts for one model: of a long one only a beginning, which holds more tokens than the model reads. Thread-safe.

    Attributes:
        first: all of a text of so many characters is read.

    Args:
        most: tokens of a question.
    """

    def __init__(self, model: ServedModel, most: int) -> None:
        self._model = model
        self._most = most
        self._enough = min(model.max_tokens, most) + _MARGIN
        self.first = max(_USUAL_CHARACTERS * self._enough, _ALWAYS_CHARACTERS)
        self._longest = max(_MOST_CHARACTERS * self._enough, _MOST_CHARACTERS_AT_ALL)

    def read(self, texts: Sequence[str], prompt: str = "") -> list[list[int]]:
        """Ids of each text, prompt and special tokens included; of a long one the first, more than the model's maximum.

        Raises:
            ApiError: there are too many tokens, or a text is so long and strange that only all of it could be read.
        """
        read: list[list[int]] = []
        counted = 0
        while len(read) < len(texts):
            some = self._some(texts, len(read), prompt)
            counted += sum(min(len(ids), self._model.max_tokens) for ids in some)
            read += some
            if counted > self._most:
                raise too_many(f"{counted} tokens" if len(read) == len(texts) else f"more than {self._most} tokens", self._most)
        return read

    def _some(self, texts: Sequence[str], start: int, prompt: str) -> list[list[int]]:
        """As many texts as are read at once, from a place on."""
        longer: list[Iterator[str]] = []
        beginnings: list[str] = []
        room = _AT_ONCE
        for index in range(start, len(texts)):
            candidates = self._beginnings(texts[index])
            beginning = next(candidates, None)
            if beginning is None:
                raise self._strange(index, texts[index])
            room -= len(beginning)
            if room < 0 and beginnings:
                break
            longer.append(candidates)
            beginnings.append(beginning)
        read = self._model.tokenize(beginnings, prompt)
        for place, candidates in enumerate(longer):
            text, length = texts[start + place], len(beginnings[place])
            while length < len(text) and len(read[place]) < self._enough:
                beginning = next(candidates, None)
                if beginning is None:
                    raise self._strange(start + place, text)
                (read[place],), length = self._model.tokenize([beginning], prompt), len(beginning)
        return read

    def _beginnings(self, text: str) -> Iterator[str]:
        """Beginnings that end before white space, each twice as long as the last; at the end the text, if that is not too long."""
        length = self.first
        while length < len(text):
            end = None if self._model.cuts_left else _word_end(text, length)
            if end is not None:
                yield text[:end]
            if length == self._longest:
                return
            length = min(2 * length, self._longest)
        yield text

    def _strange(self, index: int, text: str) -> ApiError:
        return ApiError(
            f"input {index} has {len(text)} characters, of which the first {self._longest} have no white space or hardly any "
            "tokens; shorten it",
            param="input",
            code="context_length_exceeded",
        )


def too_many(tokens: str, most: int) -> ApiError:
    """The fault of a question that is too long."""
    return ApiError(f"the inputs have {tokens} together; one request may hold {most}", param="input", code="request_too_long")


def _word_end(text: str, length: int) -> int | None:
    """Where the last word ends that is followed by white space, in the second half of the first characters."""
    ends = [found.end() for found in _WORD_END.finditer(text, max(length - _NEAR, length // 2), length)]
    return ends[-1] if ends else None
