"""Retrieval tasks whose texts come from the run's own pairs: mteb's scoring, no hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtd_ray.evaluate.tasks.places import DEFAULT, OWN_SPLIT
from mtd_ray.evaluate.tasks.texts import RetrievalTexts

if TYPE_CHECKING:
    from mtd_ray.evaluate.tasks.task import Task
    from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class PairsTask:
    """Find the passage that belongs to a query, among all passages of the corpus's evaluation pairs of one name.

    ``key`` is where the pairs lie in storage, ``identity`` their content hash. The main score is nDCG@10.
    """

    name: str
    key: str
    identity: str

    @property
    def type(self) -> str:
        return "Retrieval"

    @property
    def parts(self) -> tuple[Task, ...]:
        return ()

    @property
    def from_hub(self) -> bool:
        return False

    def open(self, store: ObjectStore) -> Any:
        """Raises CorpusError when the pairs are not those that were built, EvaluationError when nothing can be ranked."""
        from mtd_ray.corpus import read_pairs

        return _mteb_task(RetrievalTexts.from_pairs(self.name, read_pairs(store, self.key, self.identity)))


def _mteb_task(texts: RetrievalTexts) -> Any:
    """The texts as an ``mteb.abstasks.retrieval.AbsTaskRetrieval`` with its data loaded, of the name of the texts."""
    from datasets import Dataset

    from mtd_ray.evaluate.tasks.classes import own_task

    queries = Dataset.from_dict({"id": _ids("q", texts.queries), "text": list(texts.queries)})
    corpus = Dataset.from_dict({"id": _ids("p", texts.passages), "text": list(texts.passages)})
    relevant = {f"q{query}": {f"p{passage}": 1 for passage in passages} for query, passages in enumerate(texts.relevant)}
    task = own_task(texts.name, "Retrieval")
    split = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
    task.dataset = {DEFAULT: {OWN_SPLIT: split}}
    task.data_loaded = True
    return task


def _ids(letter: str, texts: Sequence[str]) -> list[str]:
    return [f"{letter}{number}" for number in range(len(texts))]
