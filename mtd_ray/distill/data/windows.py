"""The sampler's windows with their texts tokenised: what batches are cut from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mtd_ray.distill.data.owners import Owners
from mtd_ray.distill.data.sampler import Integers, Sampler
from mtd_ray.distill.data.shards import LoadedShard, ShardsInPlay
from mtd_ray.student import tokenize


class TextEncoder:
    """Rows' texts → token ids, with the prompt of their kind before them.

    Args:
        tokenizer: of the student; not to be used by another thread meanwhile, for where it cuts is state of its own.
        max_tokens: where texts are cut.
        prompts: put before a text, by its kind.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, prompts: Mapping[str, str]) -> None:
        self._tokenizer, self._max_tokens, self._prompts = tokenizer, max_tokens, dict(prompts)

    def encode(self, texts: pa.Array | pa.ChunkedArray, kinds: pa.Array | pa.ChunkedArray) -> list[list[int]]:
        """Token ids per text."""
        written: list[str] = texts.to_pylist()
        if self._prompts:
            written = [self._prompts.get(kind, "") + text for kind, text in zip(kinds.to_pylist(), written, strict=True)]
        return tokenize(self._tokenizer, written, self._max_tokens)


@dataclass(frozen=True)
class Window:
    """One window, in memory.

    Attributes:
        number: of the window.
        first_group: of the sampler's groups, the first that the window draws from.
        rows: ``(batches, batch_size, 2)`` shard position and row; the rows of a batch stand in the order of the corpus.
        token_ids: ``[batch][place]`` of the rows; empty when the trunk's states are read instead.
        shards: by position.
        owners: worker by position of a shard.
    """

    number: int
    first_group: int
    rows: Integers
    token_ids: list[list[list[int]]]
    shards: Mapping[int, LoadedShard]
    owners: Mapping[int, int]


class WindowReader:
    """Builds windows.

    Rows are sorted by their number of tokens: sorted by characters, batches hold a third more padding. Every worker tokenises all
    of a window's texts, each once in a pass, and so knows what each row costs without asking the others. Where the trunk's states
    are read instead of texts, length costs nothing and rows stay in random order.

    Args:
        sampler, shards, owners: of the stage.
        encoder: None where the trunk's states are read.
    """

    def __init__(self, sampler: Sampler, shards: ShardsInPlay, owners: Owners, encoder: TextEncoder | None) -> None:
        self._sampler, self._shards, self._owners, self._encoder = sampler, shards, owners, encoder

    def window(self, number: int) -> Window:
        """A window by its number; waits for its shards.

        Raises:
            CorpusError, TargetError, TrainingError: a shard cannot be loaded.
        """
        groups = self._sampler.groups(number)
        shards = {position: shard for group in groups for position, shard in self._shards.group(group).items()}
        owners = {position: owner for group in groups for position, owner in self._owners.of_group(group).items()}
        rows = self._sampler.rows(number)
        token_ids = [] if self._encoder is None else self._tokenized(rows, shards, self._encoder)
        lengths = np.array([len(ids) for ids in token_ids]) if token_ids else None
        places = _in_corpus_order(self._sampler.arrangement(number, lengths), rows)
        batches = [[token_ids[place] for place in batch] for batch in places.tolist()] if token_ids else []
        return Window(number, groups.start, rows[places], batches, shards, owners)

    def _tokenized(self, rows: Integers, shards: Mapping[int, LoadedShard], encoder: TextEncoder) -> list[list[int]]:
        order = np.argsort(rows[:, 0], kind="stable")
        texts, kinds = [], []
        for position, chosen in runs(rows[order]):
            taken = pa.array(chosen)
            texts.append(shards[position].texts.take(taken))
            kinds.append(shards[position].kinds.take(taken))
        token_ids = encoder.encode(pa.concat_arrays(texts), pa.concat_arrays(kinds))
        return [token_ids[place] for place in np.argsort(order).tolist()]


def runs(rows: Integers) -> list[tuple[int, Integers]]:
    """Shard positions and their rows, of ``(n, 2)`` rows in which those of a shard stand together."""
    cuts = np.flatnonzero(np.diff(rows[:, 0])) + 1
    return [(int(run[0, 0]), run[:, 1]) for run in np.split(rows, cuts) if len(run)]


def _in_corpus_order(places: Integers, rows: Integers) -> Integers:
    """Each batch's places by shard and row, so that what a worker owns of a shard is copied in one piece."""
    keys = (rows[:, 0] * (rows[:, 1].max() + 1) + rows[:, 1])[places]
    return np.take_along_axis(places, keys.argsort(axis=1), axis=1)
