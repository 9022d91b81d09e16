"""Vectors of a task's texts → its main score, computed by mteb."""

from __future__ import annotations

from typing import Any

import mteb
from mteb.models import ModelMeta
from mteb.types import PromptType

from mtd_ray.evaluate.tasks import mteb_task
from mtd_ray.evaluate.texts import RetrievalTexts
from mtd_ray.evaluate.vectors import TaskVectors, Vectors, unit


def score(texts: RetrievalTexts, vectors: TaskVectors) -> float:
    """nDCG@10 (0 to 1) of ranking passages by cosine. A vector of zeros (a text that could not be embedded) matches nothing."""
    model = _Precomputed(texts, vectors)
    result = mteb.evaluate(model, mteb_task(texts), cache=None, show_progress_bar=False, co2_tracker=False)
    return float(result.task_results[0].get_score())


class _Precomputed:
    """The model that mteb sees: every text's vector is looked up, so a text is embedded once whatever mteb asks."""

    mteb_model_meta = ModelMeta.create_empty()

    def __init__(self, texts: RetrievalTexts, vectors: TaskVectors) -> None:
        self._vectors = {PromptType.query: vectors.queries, PromptType.document: vectors.passages}
        self._rows = {
            PromptType.query: {text: row for row, text in enumerate(texts.queries)},
            PromptType.document: {text: row for row, text in enumerate(texts.passages)},
        }

    def encode(self, inputs: Any, *, prompt_type: PromptType, **_: Any) -> Vectors:
        rows = self._rows[prompt_type]
        return self._vectors[prompt_type][[rows[text] for batch in inputs for text in batch["text"]]]

    def similarity(self, embeddings1: Vectors, embeddings2: Vectors) -> Vectors:
        return unit(embeddings1) @ unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Vectors, embeddings2: Vectors) -> Vectors:
        product: Vectors = (unit(embeddings1) * unit(embeddings2)).sum(axis=1)
        return product
