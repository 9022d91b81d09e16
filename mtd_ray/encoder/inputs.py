"""Texts tokenised once, then cut into the model's input features batch by batch.

Two shapes of input exist: rows padded to a rectangle, and all tokens in one line with offsets (static embeddings, and transformers
that take packed texts).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding, Transformer

from mtd_ray.errors import MtdError


class Inputs(Protocol):
    """Tokenised texts; the tokenizer is not needed any more."""

    lengths: list[int]

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        """The features of some rows, as the model's first module expects them, on the CPU."""


class PaddedInputs:
    """Input of a transformer, from texts: ids (rows, longest) and an attention mask."""

    def __init__(self, model: SentenceTransformer, texts: Sequence[str], prompt: str) -> None:
        tokenizer = model[0].tokenizer
        self._left = tokenizer.padding_side == "left"
        self._filler = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
        self._encodings = tokenizer([prompt + text for text in texts], padding=False, truncation="longest_first")
        self._fill_empty_rows()
        self.lengths = [len(ids) for ids in self._encodings["input_ids"]]
        # What the model's own preprocessing adds beside tensors: the modality, and the prompt's length if pooling leaves it out.
        example = model.preprocess([texts[0]], prompt=prompt or None)
        self._extras = {name: value for name, value in example.items() if not isinstance(value, torch.Tensor)}

    @property
    def ids(self) -> list[list[int]]:
        """Token ids of each text."""
        ids: list[list[int]] = self._encodings["input_ids"]
        return ids

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        width = max(self.lengths[row] for row in rows)
        return {name: self._padded(name, rows, width) for name in self._encodings} | self._extras

    def _padded(self, name: str, rows: Sequence[int], width: int) -> torch.Tensor:
        values = self._encodings[name]
        filled = np.full((len(rows), width), self._filler.get(name, 0), np.int64)
        for place, row in enumerate(rows):
            start = width - len(values[row]) if self._left else 0
            filled[place, start : start + len(values[row])] = values[row]
        return torch.from_numpy(filled)

    def _fill_empty_rows(self) -> None:
        """Give a text without tokens (an empty one, when the tokenizer adds none) one padding token: nothing can be pooled else."""
        for row, ids in enumerate(self._encodings["input_ids"]):
            if not ids:
                for name, values in self._encodings.items():
                    values[row] = [1 if name == "attention_mask" else self._filler.get(name, 0)]


class PaddedIds:
    """Input of a transformer, from token ids, special tokens included: what :class:`PaddedInputs` gives for their texts.

    Args:
        model: whose token types are 0 in every text; the prompt is pooled with the text.
    """

    def __init__(self, model: SentenceTransformer, ids: Sequence[Sequence[int]]) -> None:
        tokenizer = model[0].tokenizer
        self._left = tokenizer.padding_side == "left"
        self._filler = tokenizer.pad_token_id or 0
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self._ids = [row or (self._filler,) for row in ids]
        self.lengths = [len(row) for row in self._ids]

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        width = max(self.lengths[row] for row in rows)
        ids, mask = np.full((len(rows), width), self._filler, np.int64), np.zeros((len(rows), width), np.int64)
        for place, row in enumerate(rows):
            text = slice(width - self.lengths[row], width) if self._left else slice(0, self.lengths[row])
            ids[place, text] = self._ids[row]
            mask[place, text] = 1
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        return features | {"token_type_ids": torch.zeros_like(features["input_ids"])} if self._has_types else features


class PackedIds:
    """Input of a transformer that takes packed texts: ids (tokens,), where texts begin and end (rows + 1,), and the longest.

    Args:
        ids: per text, special tokens included.
        filler: the only token of a text that has none.
    """

    def __init__(self, ids: Sequence[Sequence[int]], filler: int) -> None:
        self._ids = [row or (filler,) for row in ids]
        self.lengths = [len(row) for row in self._ids]

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        lengths = [self.lengths[row] for row in rows]
        ids = np.fromiter(chain.from_iterable(self._ids[row] for row in rows), np.int64, sum(lengths))
        offsets = np.cumsum([0, *lengths], dtype=np.int32)
        return {"input_ids": torch.from_numpy(ids), "offsets": torch.from_numpy(offsets), "longest": max(lengths)}


class FlatIds:
    """Input of a static embedding: all ids in a line (tokens,) and where each text starts (rows,)."""

    def __init__(self, ids: Sequence[Sequence[int]]) -> None:
        self._ids = ids
        self.lengths = [len(row) for row in ids]

    def batch(self, rows: Sequence[int]) -> dict[str, Any]:
        ids = [token for row in rows for token in self._ids[row]]
        lengths = torch.tensor([0] + [self.lengths[row] for row in rows[:-1]])
        return {"input_ids": torch.tensor(ids, dtype=torch.long), "offsets": torch.cumsum(lengths, 0)}


def tokenize(model: SentenceTransformer, texts: Sequence[str], prompt: str) -> Inputs:
    """All texts tokenised, each with the prompt before it and cut at the model's maximum length.

    Raises:
        MtdError: the model's first module takes something else than text.
    """
    if isinstance(model[0], StaticEmbedding):
        encodings = model[0].tokenizer.encode_batch([prompt + text for text in texts], add_special_tokens=False)
        return FlatIds([encoding.ids for encoding in encodings])
    if isinstance(model[0], Transformer) and model[0].modalities == ["text"]:
        return PaddedInputs(model, texts, prompt)
    raise MtdError(
        f"a model that starts with {type(model[0]).__name__} is not supported; it must be a text transformer or a static embedding"
    )


def inputs_of(model: SentenceTransformer, ids: Sequence[Sequence[int]], *, packed: bool) -> Inputs:
    """What :func:`tokenize` gives, for texts that are tokenised already, special tokens included; packed where asked for."""
    if packed:
        return PackedIds(ids, model[0].tokenizer.pad_token_id or 0)
    return FlatIds(ids) if isinstance(model[0], StaticEmbedding) else PaddedIds(model, ids)


def count_tokens(model: SentenceTransformer, texts: Sequence[str], prompt: str) -> list[int]:
    """Tokens of each text with the prompt before it, special tokens included, not cut."""
    tokenizer, written = model[0].tokenizer, [prompt + text for text in texts]
    if not isinstance(model[0], StaticEmbedding):
        return [len(ids) for ids in tokenizer(written, padding=False, truncation=False, verbose=False)["input_ids"]]
    limit = tokenizer.truncation
    tokenizer.no_truncation()
    try:
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(written, add_special_tokens=False)]
    finally:
        if limit is not None:
            tokenizer.enable_truncation(**limit)


def token_limit(model: SentenceTransformer) -> int:
    """Where the model's texts are cut, in tokens."""
    if isinstance(model[0], StaticEmbedding):
        truncation = model[0].tokenizer.truncation
        return int(truncation["max_length"]) if truncation else np.iinfo(np.int64).max
    return int(model.max_seq_length)


def limit_tokens(model: SentenceTransformer, max_tokens: int) -> None:
    """Cut texts here, or at the model's own limit when that is lower."""
    limit = min(max_tokens, token_limit(model))
    if isinstance(model[0], StaticEmbedding):
        model[0].tokenizer.enable_truncation(limit)
    else:
        model.max_seq_length = limit
