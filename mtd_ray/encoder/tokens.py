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


class Tokens:
    """A model's token ids: what :meth:`Encoder.encode <mtd_ray.encoder.Encoder.encode>` reads for a text, and how it cuts that.

    Attributes:
        limit: where texts are cut, in tokens.
        vocabulary: how many tokens there are; ids are below.

    Args:
        tokenizer: neither cuts nor pads.
        special: whether special tokens stand around a text.
        limit: as above.
        cuts_left: whether a text that is too long loses its beginning.
        filler: the only token of a text that has none; None where a text may have none.
    """

    def __init__(self, tokenizer: Tokenizer, *, special: bool, limit: int, cuts_left: bool, filler: int | None) -> None:
        self.limit, self.vocabulary = limit, tokenizer.get_vocab_size(with_added_tokens=True)
        self._tokenizer, self._special, self._cuts_left, self._filler = tokenizer, special, cuts_left, filler
        self._before, self._behind = _around(tokenizer) if special else ([], [])

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
        return cls(tokenizer, special=not static, limit=token_limit(model), cuts_left=cuts_left, filler=filler)

    def read(self, texts: Sequence[str], prompt: str = "") -> list[list[int]]:
        """Ids of each text with the prompt before it, special tokens included, not cut; other threads run meanwhile."""
        written = [prompt + text for text in texts] if prompt else list(texts)
        encodings = self._tokenizer.encode_batch_fast(written, add_special_tokens=self._special)
        return [self._filled(encoding.ids) for encoding in encodings]

    def complete(self, ids: Sequence[int], prompt: str = "") -> list[int]:
        """As :meth:`read`, for a text that is given as ids, with or without the special tokens around it.

        With a prompt, the text that the ids stand for is read again: tokens may form across the prompt's end.
        """
        start = len(self._before) if list(ids[: len(self._before)]) == self._before else 0
        stop = len(ids)
        if self._behind and stop - start >= len(self._behind) and list(ids[stop - len(self._behind) :]) == self._behind:
            stop -= len(self._behind)
        text = ids[start:stop]
        if prompt:
            return self.read([self._tokenizer.decode(list(text))], prompt)[0]
        return self._filled([*self._before, *text, *self._behind])

    def cut(self, ids: list[int]) -> list[int]:
        """The ids of a whole text, cut at the limit; special tokens stay."""
        if len(ids) <= self.limit:
            return ids
        if self._cuts_left:
            return ids[: len(self._before)] + ids[len(ids) - self.limit + len(self._before) :]
        return ids[: self.limit - len(self._behind)] + ids[len(ids) - len(self._behind) :]

    def _filled(self, ids: list[int]) -> list[int]:
        return [self._filler] if not ids and self._filler is not None else ids


def _around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens before a text and behind it."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    text = [place for place, special in enumerate(mask) if not special]
    return encoding.ids[: text[0]], encoding.ids[text[-1] + 1 :]
