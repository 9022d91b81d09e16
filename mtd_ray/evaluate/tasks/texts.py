"""The texts of an evaluation task: queries, passages, and which belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from mtd_ray.errors import EvaluationError


@dataclass(frozen=True)
class RetrievalTexts:
    """A task's texts: find, for every query, its relevant passages among all passages.

    Attributes:
        queries: distinct texts.
        passages: distinct texts.
        relevant: per query, the numbers of its relevant passages.
    """

    name: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    relevant: tuple[tuple[int, ...], ...]

    @classmethod
    def from_pairs(cls, name: str, pairs: pa.Table) -> RetrievalTexts:
        """A task from (query, passage) rows. A query that stands in several rows has several relevant passages.

        Raises:
            EvaluationError: a text is empty, or there are fewer than two passages, so nothing can be ranked.
        """
        query_texts, passage_texts = (_stripped(name, pairs, column) for column in ("query", "passage"))
        queries, passages = _numbered(query_texts), _numbered(passage_texts)
        if len(passages) < 2:
            raise EvaluationError(
                f"evaluation task {name!r} has {len(passages)} distinct passages; at least two are needed to rank"
            )
        relevant: list[set[int]] = [set() for _ in queries]
        for query, passage in zip(query_texts, passage_texts, strict=True):
            relevant[queries[query]].add(passages[passage])
        return cls(name, tuple(queries), tuple(passages), tuple(tuple(sorted(found)) for found in relevant))


def _stripped(name: str, pairs: pa.Table, column: str) -> list[str]:
    texts = [(text or "").strip() for text in pairs.column(column).to_pylist()]
    if "" in texts:
        raise EvaluationError(f"evaluation task {name!r}: row {texts.index('')} has an empty {column}; remove it from the pairs")
    return texts


def _numbered(texts: Sequence[str]) -> dict[str, int]:
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}
