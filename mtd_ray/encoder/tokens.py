"""Texts → token ids of a model, for callers that must know how long a text is before it is embedded.

A copy of the model's tokenizer is used, which neither cuts nor pads, so that several threads may use it at once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from mtd_ray.encoder.inputs import token_limit
from mtd_ray.errors import MtdError

_FEW_IDS = 8
# The two ids at each end of a piece, read alone, may become so many; ids this far behind a cut do not depend on what follows.
_MOST_SHIFT = 16
_SAMPLE = "Tokenizers that cannot write down unhyphenated words, 12.5 % of them, don't matter."


class Tokens:
    """A model's token ids: what :meth:`Encoder.encode <mtd_ray.encoder.Encoder.encode>` reads for a text, and how it cuts that.

    Attributes:
        limit: where texts are cut, in tokens.
        vocabulary: how many tokens the model knows; ids are below.
        cuts_left: whether a text that is too long loses its beginning.
        strangers: how many tokens the tokenizer gives beyond those, for which the model has no row.

    Args:
        tokenizer: neither cuts nor pads.
        words: rows of the model's table of tokens.
        special: whether special tokens stand around a text.
        limit, cuts_left: as above.
        filler: the only token of a text that has none; None where a text may have none.
    """

    def __init__(self, tokenizer: Tokenizer, *, words: int, special: bool, limit: int, cuts_left: bool, filler: int | None) -> None:
        given = tokenizer.get_vocab_size(with_added_tokens=True)
        self.limit, self.vocabulary, self.strangers = limit, min(given, words), max(given - words, 0)
        self.cuts_left = cuts_left
        self._tokenizer, self._special, self._filler = tokenizer, special, filler
        self._before, self._behind = _around(tokenizer) if special else ([], [])
        sample = tokenizer.encode(_SAMPLE, add_special_tokens=False).ids
        self._reads_back = self._again(sample) == sample

    @classmethod
    def of(cls, model: SentenceTransformer) -> Tokens:
        """The tokens of a loaded model.

        Raises:
            MtdError: its tokenizer is one of Python code, or marks parts of a text by token types.
        """
        first = model[0]
        static = isinstance(first, StaticEmbedding)
        backend = first.tokenizer if static else getattr(first.tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise MtdError(
                f"the tokenizer {type(first.tokenizer).__name__} has no tokenizer.json, without which texts cannot be read ahead; "
                "save the model with a fast tokenizer"
            )
        tokenizer = copy.deepcopy(backend)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if not static and any(tokenizer.encode("a").type_ids):
            raise MtdError(f"the tokenizer {type(first.tokenizer).__name__} gives token types, which go lost with token ids")
        cuts_left = (backend.truncation or {}).get("direction") == "left" if static else first.tokenizer.truncation_side == "left"
        filler = None if static else first.tokenizer.pad_token_id or 0
        words = first.embedding.num_embeddings if static else first.config.vocab_size
        return cls(tokenizer, words=words, special=not static, limit=token_limit(model), cuts_left=cuts_left, filler=filler)

    def read(self, texts: Sequence[str], prompt: str = "") -> list[list[int]]:
        """Ids of each text with the prompt before it, special tokens included, not cut; other threads run meanwhile."""
        written = [prompt + text for text in texts] if prompt else list(texts)
        encodings = self._tokenizer.encode_batch_fast(written, add_special_tokens=self._special)
        return [self._filled(encoding.ids) for encoding in encodings]

    def complete(self, ids: Sequence[int], prompt: str = "") -> list[int]:
        """As :meth:`read`, for a text that is given as ids, with or without the special tokens around it.

        With a prompt, the text that the ids stand for is read again: tokens may form across the prompt's end.
        """
        text = self._text_of(ids)
        if prompt:
            return self.read([self._tokenizer.decode(text)], prompt)[0]
        return self._filled([*self._before, *text, *self._behind])

    def is_reading(self, ids: Sequence[int]) -> bool:
        """Whether ids, with or without the special tokens around them, are how a text is read: what they stand for is read again.

        Of more than a few ids the first and last two may differ, as in texts that were cut somewhere. Of 3,076 docstrings as
        all-MiniLM's tokenizer reads them all pass, and all but one in a thousand of their pieces. As OpenAI's cl100k_base reads
        them 796 have ids below MiniLM's vocabulary; 5 of those, of one or two tokens, pass. All pass where a tokenizer cannot write
        down what it has read.
        """
        text = self._text_of(ids)
        again = self._again(text)
        return again == text or (len(text) > _FEW_IDS and _holds(again, text[2:-2])) or not self._reads_back

    def part(self, ids: Sequence[int]) -> list[int]:
        """What of a text's ids is enough to :meth:`complete` and :meth:`cut` it: a little more than the limit."""
        enough = self.limit + _MOST_SHIFT
        if len(ids) <= enough:
            return list(ids)
        text = self._text_of(ids)
        return text[-enough:] if self.cuts_left else text[:enough]

    def _again(self, ids: list[int]) -> list[int]:
        """How the text that ids stand for is read, without special tokens around it."""
        # As batches of one: those let other threads run.
        texts = self._tokenizer.decode_batch([ids], skip_special_tokens=False)
        return list(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)[0].ids)

    def _text_of(self, ids: Sequence[int]) -> list[int]:
        """Without the special tokens around them, if they are there."""
        start = len(self._before) if list(ids[: len(self._before)]) == self._before else 0
        stop = len(ids)
        if self._behind and stop - start >= len(self._behind) and list(ids[stop - len(self._behind) :]) == self._behind:
            stop -= len(self._behind)
        return list(ids[start:stop])

    def cut(self, ids: list[int]) -> list[int]:
        """The ids of a whole text, cut at the limit; special tokens stay."""
        if len(ids) <= self.limit:
            return ids
        if self.cuts_left:
            return ids[: len(self._before)] + ids[len(ids) - self.limit + len(self._before) :]
        return ids[: self.limit - len(self._behind)] + ids[len(ids) - len(self._behind) :]

    def _filled(self, ids: list[int]) -> list[int]:
        return [self._filler] if not ids and self._filler is not None else ids


def _holds(ids: list[int], part: list[int]) -> bool:
    """Whether a part of a text stands in it, near its beginning."""
    shifts = range(min(len(ids) - len(part), _MOST_SHIFT) + 1)
    return any(ids[start : start + len(part)] == part for start in shifts)


def _around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens before a text and behind it."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    text = [place for place, special in enumerate(mask) if not special]
    return encoding.ids[: text[0]], encoding.ids[text[-1] + 1 :]
