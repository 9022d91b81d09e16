"""What a task's main score is made of: one number per query, pair, experiment or set."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from mtd_ray.evaluate.measuring.lookup import Library
from mtd_ray.evaluate.models.base import TextEncoder
from mtd_ray.evaluate.scores import ItemKind
from mtd_ray.evaluate.texts import text_digest
from mtd_ray.evaluate.vectors import Vectors

Place = tuple[str, str]
"""A split of a task, and a subset of it."""

# mteb's metric of retrieval → trec_eval's, of which mteb has one number per query.
_TREC = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
_CORRELATIONS = ("cosine_spearman", "spearman")


@dataclass(frozen=True)
class Samples:
    """Items, see :class:`mtd_ray.evaluate.scores.TaskScore`; none where the main score is not made of such."""

    kind: ItemKind | Literal[""] = ""
    items: tuple[float, ...] = ()
    gold: tuple[float, ...] = ()
    groups: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()

    @classmethod
    def grouped(
        cls, kind: ItemKind, items: Sequence[Sequence[float]], gold: Sequence[float] = (), lengths: Sequence[int] = ()
    ) -> Samples:
        """Items subset by subset."""
        groups = tuple(group for group, found in enumerate(items) for _ in found)
        return cls(kind, tuple(map(float, chain.from_iterable(items))), tuple(map(float, gold)), groups, tuple(lengths))

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Those of several tasks as of one, of which every subset is a group; none where a part has none."""
        if not all(part.items and part.kind == parts[0].kind for part in parts):
            return cls()
        items, gold, lengths = (
            tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in ("items", "gold", "lengths")
        )
        groups: list[int] = []
        for part in parts:
            start = max(groups, default=-1) + 1
            groups += [start + group for group in part.groups]
        return cls(parts[0].kind, items, gold, tuple(groups), lengths if len(lengths) == len(items) else ())


@dataclass
class Heard:
    """What mteb knows of single queries while it scores: their metrics, and their documents' grades."""

    scores: dict[Place, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    grades: dict[Place, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)


def listening(task: Any, heard: Heard) -> Any:
    """The task, with the same data, so that it tells what it knows and begins with the same random numbers every time."""
    one = copy.copy(task)
    one.check_if_dataset_is_superseded = lambda: None  # mteb would say it for every view
    one.rng_state, one.np_rng = copy.deepcopy(task.rng_state), copy.deepcopy(task.np_rng)
    if hasattr(one, "task_specific_scores"):
        scored = one.task_specific_scores

        def specific(scores: Any, qrels: Any, results: Any, hf_split: str, hf_subset: str) -> Any:
            heard.scores[hf_split, hf_subset] = {name: scores[name] for name in results if name in scores}
            heard.grades[hf_split, hf_subset] = qrels
            return scored(scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)

        one.task_specific_scores = specific
    return one


class Lengths:
    """Tokens of texts, of which each is counted once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._tokens: dict[bytes, int] = {}

    def longest(self, groups: Sequence[Sequence[str]]) -> tuple[int, ...]:
        """Per group, tokens of its longest text, 0 for a group of none; nothing where nobody can count."""
        new = {key: text for text in chain.from_iterable(groups) if (key := text_digest(text)) not in self._tokens}
        counted = self._encoder.count_tokens(list(new.values())) if new else []
        if counted is None:
            return ()
        self._tokens |= dict(zip(new, counted, strict=True))
        return tuple(max((self._tokens[text_digest(text)] for text in group), default=0) for group in groups)


def of_queries(task: Any, places: Sequence[Place], heard: Heard, library: Library, lengths: Lengths) -> Samples:
    """Each query's main score, and the length of its longest relevant document."""
    metric = _trec(task.metadata.main_score)
    if any(metric not in query for place in places for query in heard.scores[place].values()):
        return Samples()
    items = [[query[metric] for query in heard.scores[place].values()] for place in places]
    relevant = [
        library.documents(place).texts([document for document, grade in heard.grades[place][query].items() if grade > 0])
        for place in places
        for query in heard.scores[place]
    ]
    return Samples.grouped("query", items, lengths=lengths.longest(relevant))


def of_pairs(task: Any, places: Sequence[Place], cosines: Sequence[Vectors], lengths: Lengths) -> Samples:
    """Each pair's cosine, what people judged, and the length of its longer text."""
    tables = [_table(task, place) for place in places]
    if task.metadata.main_score not in _CORRELATIONS or [len(found) for found in cosines] != [len(table) for table in tables]:
        return Samples()
    first, second = task.column_names
    texts = [pair for table in tables for pair in zip(table[first], table[second], strict=True)]
    gold = [float(score) for table in tables for score in table["score"]]
    return Samples.grouped("pair", [found.tolist() for found in cosines], gold, lengths.longest(texts))


def of_repeated(task: Any, subsets: Sequence[Mapping[str, Any]]) -> Samples:
    """Scores of each experiment of a classification, or of each set of a clustering; ``subsets`` as mteb scores them."""
    metric = task.metadata.main_score
    if all("scores_per_experiment" in subset for subset in subsets):
        experiments = [subset["scores_per_experiment"] for subset in subsets]
        if all(metric in experiment for found in experiments for experiment in found):
            return Samples.grouped("experiment", [[experiment[metric] for experiment in found] for found in experiments])
    if metric == "v_measure" and all("v_measures" in subset for subset in subsets):
        return Samples.grouped("set", [_flat(subset["v_measures"]) for subset in subsets])
    return Samples()


def _trec(metric: str) -> str:
    """trec_eval's name of a metric; ``""`` where it has none."""
    if metric == "accuracy":
        return "recall_1"
    name, _, depth = metric.partition("_at_")
    return f"{_TREC[name]}_{depth}" if name in _TREC else ""


def _table(task: Any, place: Place) -> Any:
    """A subset's rows, where mteb's tasks have them."""
    split, subset = place
    return task.dataset[split] if subset == "default" and subset not in task.dataset else task.dataset[subset][split]


def _flat(measures: Mapping[str, Sequence[float]] | Sequence[float]) -> list[float]:
    """By level of a hierarchy of clusters, or as a list."""
    return list(chain.from_iterable(measures.values())) if isinstance(measures, Mapping) else list(measures)
