"""Forward passes over batches, of which no text spoils another's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from serve.engine.cache import Cache
from serve.engine.work import Item, Job, Vector

if TYPE_CHECKING:
    from serve.engine.model import ServedModel

_LOG = logging.getLogger(__name__)
Group = list[Item]


class Passes:
    """Runs the models; whatever one raises stays here. For one thread.

    A batch that fails, or gives a number that is not finite, is halved until the texts at fault are alone.

    Args:
        models: by key, as items name them.
        cache: where vectors of items with a key are kept.
        done: called with a job whose vectors are complete.
        failed: called with the items of a text on which the model fails.

    Attributes:
        answered_at: when each model last gave vectors, on the clock of :func:`time.perf_counter`.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        cache: Cache | None,
        *,
        done: Callable[[Job], None],
        failed: Callable[[Group], None],
    ) -> None:
        self._models = models
        self._cache = cache
        self._done = done
        self._failed = failed
        self._smallest = {key: model.tokenize(["ok"])[0] for key, model in models.items()}
        self.answered_at = dict.fromkeys(models, float("-inf"))

    def not_cached(self, items: Sequence[Item]) -> list[Group]:
        """Equal texts grouped, without those that were computed while they waited."""
        groups: dict[object, Group] = {}
        for item in items:
            vector = None if self._cache is None or item.key is None else self._cache.get(item.key)
            if vector is None:
                groups.setdefault(item.key or item, []).append(item)
            else:
                self._fill([item], vector)
        return list(groups.values())

    def run(self, groups: Sequence[Group]) -> None:
        """Compute one text of each group, all of one model."""
        groups = [group for group in groups if not all(item.job.over for item in group)]
        if not groups:
            return
        try:
            vectors = self._embed([group[0] for group in groups])
        except BaseException:
            if len(groups) == 1:
                _LOG.exception("the model failed on a text of %d tokens", groups[0][0].tokens)
                self._failed(groups[0])
                return
        else:
            self.answered_at[groups[0][0].model] = perf_counter()
            for group, vector in zip(groups, vectors, strict=True):
                key = group[0].key
                self._fill(group, vector if self._cache is None or key is None else self._cache.put(key, vector))
            return
        # Out of the handler, so that what the failed pass held is free.
        middle = len(groups) // 2
        self.run(groups[:middle])
        self.run(groups[middle:])

    def run_smallest(self) -> BaseException | None:
        """Have every model compute the smallest text; returns what went wrong."""
        try:
            for key, ids in self._smallest.items():
                model = self._models[key]
                if not np.isfinite(model.embed([ids], [model.default_size])[0]).all():
                    raise FloatingPointError(f"{key} gave a number that is not finite")
                self.answered_at[key] = perf_counter()
        except BaseException as error:
            _LOG.exception("a model does not compute the smallest text")
            return error
        return None

    def _embed(self, items: Sequence[Item]) -> list[Vector]:
        model = self._models[items[0].model]
        vectors = model.embed([item.ids for item in items], [item.size for item in items])
        if len(vectors) != len(items) or not all(np.isfinite(vector).all() for vector in vectors):
            raise FloatingPointError("the model gave a number that is not finite")
        return vectors

    def _fill(self, group: Group, vector: Vector) -> None:
        for item in group:
            if not item.job.over and item.job.fill(item.index, vector):
                self._done(item.job)
