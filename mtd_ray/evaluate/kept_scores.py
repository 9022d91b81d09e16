"""Scores that were measured once: kept in the store under what decides them, so that no run measures them again.

A record belongs to a model's content and a task's content, not to a run, and says nothing of how somebody calls the model. It holds
a score per view; views that are asked for later are added to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mtd_ray import layout
from mtd_ray.config import fingerprint
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.base import Asked, Side
from mtd_ray.evaluate.models.prompts import name_of_chosen
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View

if TYPE_CHECKING:
    from mtd_ray.evaluate.tasks.task import Task
    from mtd_ray.objects import ObjectStore

Interval = tuple[float, float]
# Raised when a record has another shape, or when the same vectors get another score: by forms, bases, or what items are.
_FORMAT = 2
_SIDES: tuple[Side, ...] = ("query", "document", None)
# Of a score, what is the same in nearly all views.
_COMMON = ("gold", "groups", "lengths")


@dataclass(frozen=True)
class KeptScore:
    """A model's scores on a task.

    Attributes:
        task: its name; for people who read the record.
        sizes: of all vectors that the model gives, ascending; empty as long as only some were asked for.
        meta: the model as mteb describes one, see :func:`mtd_ray.evaluate.mteb_results.described`.
        scores: per view.
        intervals: per view, the score's 95 % interval, where it has one.
        origin: what the ``cut`` and ``pca`` views were made from: the largest size, the texts of the bases and their prompt. Empty
            without them.
    """

    task: str
    sizes: tuple[int, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    scores: Mapping[View, TaskScore] = field(default_factory=dict)
    intervals: Mapping[View, Interval] = field(default_factory=dict)
    origin: str = ""

    def usable(self, origin: str) -> KeptScore:
        """The record without the views that were made from something else."""
        if self.origin == origin:
            return self
        scores = {view: score for view, score in self.scores.items() if not view.derived}
        intervals = {view: bounds for view, bounds in self.intervals.items() if not view.derived}
        return replace(self, scores=scores, intervals=intervals, origin="")

    def joined(self, newer: KeptScore) -> KeptScore:
        """Both records' views; where both have one, the newer's."""
        older = self.usable(newer.origin) if newer.origin else self
        return replace(
            newer,
            sizes=newer.sizes or older.sizes,
            scores={**older.scores, **newer.scores},
            intervals={**older.intervals, **newer.intervals},
            origin=newer.origin or older.origin,
        )

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        common: list[dict[str, Any]] = []
        views: dict[str, Any] = {}
        for view in sorted(self.scores):
            entry = self.scores[view].to_json() | {"interval": self.intervals.get(view)}
            shared = {name: entry.pop(name) for name in _COMMON}
            if shared not in common:
                common.append(shared)
            views[str(view)] = entry | {"common": common.index(shared)}
        about = {"task": self.task, "sizes": self.sizes, "origin": self.origin, "meta": self.meta}
        return about | {"common": common, "views": views}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> KeptScore:
        """Read :meth:`to_json`'s value."""
        common = [{name: tuple(shared[name]) for name in _COMMON} for shared in value["common"]]
        views = {View.parse(text): entry | common[entry["common"]] for text, entry in value["views"].items()}
        bounds = {view: entry["interval"] for view, entry in views.items() if entry["interval"] is not None}
        return cls(
            task=value["task"],
            sizes=tuple(value["sizes"]),
            meta=value["meta"],
            scores={view: TaskScore.from_json(entry) for view, entry in views.items()},
            intervals={view: (low, high) for view, (low, high) in bounds.items()},
            origin=value["origin"],
        )


def score_key(identity: str, prompts: Mapping[str, str], task: Task) -> str:
    """Where the scores of a model of this identity are kept.

    Args:
        prompts: names of the model's prompts that are chosen, by mteb's keys. Those that stand before no text of the task do not
            count. The task's name does, for by it the model itself may have a prompt.
    """
    asked = [Asked(single.name, single.type, side) for single in _singles(task) for side in _SIDES]
    chosen = [name_of_chosen(prompts, one) for one in asked]
    return layout.kept_score(identity, fingerprint([_FORMAT, task.name, task.type, task.identity, chosen]))


def _singles(task: Task) -> Iterator[Task]:
    """The tasks by whose names and types vectors are asked for."""
    for part in task.parts:
        yield from _singles(part)
    if not task.parts:
        yield task


def find_score(store: ObjectStore, key: str) -> KeptScore | None:
    """What was measured earlier.

    Raises:
        EvaluationError: the record is damaged.
    """
    stored = store.find(key)
    if stored is None:
        return None
    try:
        return KeptScore.from_json(json.loads(stored))
    except (ValueError, LookupError, TypeError) as error:
        raise EvaluationError(f"{store.url}/{key} is damaged ({error!r}): delete it and evaluate again") from None


def keep_score(store: ObjectStore, key: str, score: KeptScore) -> KeptScore:
    """Add scores to those that are kept, and return all. Of two that write at once one's views may have to be measured again."""
    earlier = find_score(store, key)
    joined = earlier.joined(score) if earlier is not None else score
    store.put(key, json.dumps(joined.to_json()).encode())
    return joined
