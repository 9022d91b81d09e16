"""Retrieval tasks whose texts come from the run's own pairs: mteb's scoring, no hub."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from mtd_ray.evaluate.texts import RetrievalTexts

_SPLIT = "test"


def mteb_task(texts: RetrievalTexts) -> AbsTaskRetrieval:
    """The task as mteb runs it, its data already loaded; the main score is nDCG@10."""
    task = _PairsRetrieval()
    queries = Dataset.from_dict({"id": _ids("q", texts.queries), "text": list(texts.queries)})
    corpus = Dataset.from_dict({"id": _ids("p", texts.passages), "text": list(texts.passages)})
    relevant = {f"q{query}": {f"p{passage}": 1 for passage in passages} for query, passages in enumerate(texts.relevant)}
    split = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
    task.dataset = {"default": {_SPLIT: split}}
    task.data_loaded = True
    return task


class _PairsRetrieval(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="PairsRetrieval",
        description="Find the passage that belongs to a query, among all passages of the task.",
        dataset={"path": "in/memory", "revision": "0"},
        type="Retrieval",
        category="t2t",
        eval_splits=[_SPLIT],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )


def _ids(letter: str, texts: Sequence[str]) -> list[str]:
    return [f"{letter}{number}" for number in range(len(texts))]
