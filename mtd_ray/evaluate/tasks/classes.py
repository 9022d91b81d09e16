"""mteb's own task classes under a name that mteb does not know: for data of one's own."""

from __future__ import annotations

from typing import Any

from mteb.abstasks import AbsTaskClassification, AbsTaskClustering, AbsTaskPairClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from mtd_ray.evaluate.tasks.places import OWN_SPLIT


class _Retrieval(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="OwnRetrieval",
        description="Find the documents that belong to a query.",
        dataset={"path": "own/data", "revision": "own"},
        type="Retrieval",
        category="t2t",
        eval_splits=[OWN_SPLIT],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )


class _STS(AbsTaskSTS):
    metadata = _Retrieval.metadata.model_copy(
        update={
            "name": "OwnSTS",
            "description": "Tell how similar two texts are.",
            "type": "STS",
            "main_score": "cosine_spearman",
        }
    )


class _PairClassification(AbsTaskPairClassification):
    metadata = _Retrieval.metadata.model_copy(
        update={
            "name": "OwnPairClassification",
            "description": "Tell whether two texts belong together.",
            "type": "PairClassification",
            "main_score": "max_ap",
        }
    )
    label_column_name = "label"


class _Classification(AbsTaskClassification):
    metadata = _Retrieval.metadata.model_copy(
        update={
            "name": "OwnClassification",
            "description": "Tell the class of a text from eight examples of each class.",
            "type": "Classification",
            "category": "t2c",
            "main_score": "accuracy",
        }
    )


class _Clustering(AbsTaskClustering):
    metadata = _Retrieval.metadata.model_copy(
        update={
            "name": "OwnClustering",
            "description": "Find the groups that texts fall into.",
            "type": "Clustering",
            "category": "t2c",
            "main_score": "v_measure",
        }
    )
    max_fraction_of_documents_to_embed = None  # all texts, for mteb's 4 % suit only sets of hundreds of thousands
    input_column_name = "text"
    label_column_name = "label"


_CLASSES: dict[str, type[Any]] = {
    kind.metadata.type: kind for kind in (_Retrieval, _STS, _PairClassification, _Classification, _Clustering)
}


def own_task(name: str, kind: str) -> Any:
    """An ``mteb.AbsTask`` of mteb's type ``kind`` that is called ``name``; its data is still to be filled in."""
    task = _CLASSES[kind]()
    task.metadata = task.metadata.model_copy(update={"name": name})
    return task
