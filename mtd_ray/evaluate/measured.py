"""Measurements on the cluster: one Ray task each, kept by the task itself as soon as it is there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtd_ray.errors import EvaluationError, MtdError
from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.measurement import Measurement
from mtd_ray.evaluate.measuring.bases import BasesOf
from mtd_ray.evaluate.models.base import Access, Measured
from mtd_ray.objects import ObjectStore
from mtd_ray.remote import Call, answer, first_ended, start, warn_of_scarce_nodes
from mtd_ray.teachers import TeacherUnavailable

_LOG = logging.getLogger(__name__)

Kept = dict[tuple[str, str], KeptScore]
"""By the model's label and the task's name."""


def measured(store: ObjectStore, wanted: Sequence[Measurement], access: Access) -> Kept:
    """Everything that is wanted: from what is kept, and the rest by measuring it. Ray must be connected if there is a rest.

    After a failure the others go on. Where a model's bases cannot be fitted, all but its form ``pca`` is measured.

    Raises:
        EvaluationError: several measurements failed, or one without an error for people.
        MtdError: the only failed measurement's own error.
    """
    done = {_pair(one): one.outcome(one.known) for one in wanted if not one.left}
    left = [one for one in wanted if one.left]
    if not left:
        return done
    under_way = _UnderWay(store, access)
    under_way.run(left)
    if under_way.failures:
        raise _all_of(under_way.failures, len(wanted))
    return done | under_way.done


@dataclass(frozen=True)
class _Fit:
    """The fitting of a model's bases, and the measurements that wait for it."""

    bases: BasesOf
    model: Measured
    waiting: list[Measurement]


class _UnderWay:
    """Measurements that are running, and those that wait for bases."""

    def __init__(self, store: ObjectStore, access: Access) -> None:
        self.done: Kept = {}
        self.failures: list[MtdError] = []
        self._store, self._access = store, access
        self._running: dict[Any, tuple[Call, Measurement | _Fit]] = {}
        self._after: dict[tuple[str, str], list[Measurement]] = {}

    def run(self, left: Sequence[Measurement]) -> None:
        """Until all have ended."""
        warn_of_scarce_nodes([_call("measure", one.model) for one in left])
        fits: dict[BasesOf, _Fit] = {}
        for one in left:
            if one.bases is not None:
                fits.setdefault(one.bases, _Fit(one.bases, one.model, [])).waiting.append(one)
        for fit in fits.values():
            call = _call(f"fit bases of {fit.model.label}", fit.model)
            self._running[start(call, _fit, fit.bases, self._store, fit.model, self._access)] = call, fit
        self._measure([one for one in left if one.bases is None])
        while self._running:
            reference = first_ended({running: call for running, (call, _) in self._running.items()})
            _, what = self._running.pop(reference)
            if isinstance(what, _Fit):
                self._fitted(reference, what)
            else:
                self._measured(reference, what)

    def _measure(self, those: Sequence[Measurement]) -> None:
        """All at once, but those of an API teacher in turn: so a text of several tasks is paid once, and its quota is the bound."""
        turns: dict[str, list[Measurement]] = {}
        for one in those:
            if one.model.role == "teacher" and one.model.name in self._access.limiters:
                turns.setdefault(one.model.label, []).append(one)
            else:
                self._begin([one])
        for turn in turns.values():
            self._begin(turn)

    def _begin(self, turn: Sequence[Measurement]) -> None:
        """The first; each of the others when the one before it has ended."""
        for one in turn[:1]:
            call = _call(f"evaluate {one.name}", one.model)
            self._running[start(call, _run, one, self._store, self._access)] = call, one
            self._after[_pair(one)] = list(turn[1:])

    def _fitted(self, reference: Any, fit: _Fit) -> None:
        waiting = fit.waiting
        try:
            answer(reference, "fitting them", EvaluationError)
        except MtdError as error:
            self._failed(
                f"{fit.model.label} in the form pca",
                EvaluationError(
                    f"{fit.model.label}: there are no bases for the form pca: {error}; all else is measured, and without 'pca' in "
                    "evaluate.forms no bases are needed"
                ),
            )
            waiting = [rest for one in waiting if (rest := one.without("pca")).left]
        self._measure(waiting)

    def _measured(self, reference: Any, one: Measurement) -> None:
        rest = self._after.pop(_pair(one))
        try:
            self.done[_pair(one)] = score = answer(reference, f"measuring {one.name}", EvaluationError)
        except TeacherUnavailable as error:  # for which each of the rest would wait as long
            self._failed(f"{one.name}, and {len(rest)} after it," if rest else one.name, error)
        except MtdError as error:
            self._begin(rest)
            self._failed(one.name, error)
        else:
            self._begin(rest)
            _LOG.info("   %s: %s (%d to go)", one.name, _shown(score), self._left)

    def _failed(self, what: str, error: MtdError) -> None:
        self.failures.append(error)
        _LOG.warning("   %s failed: %s%s", what, error, "; the others go on" if self._left else "")

    @property
    def _left(self) -> int:
        """Measurements that have not ended."""
        running = sum(len(what.waiting) if isinstance(what, _Fit) else 1 for _, what in self._running.values())
        return running + sum(map(len, self._after.values()))


def _call(name: str, model: Measured) -> Call:
    return Call(name, model.label, model.cpus, model.gpus)


def _fit(bases: BasesOf, store: ObjectStore, model: Measured, access: Access) -> None:
    bases.fit(store, model, access)
    bases.read(store)  # damaged ones fail here, for the form that needs them, and not in every measurement


def _run(measurement: Measurement, store: ObjectStore, access: Access) -> KeptScore:
    return measurement.run(store, access)


def _all_of(failures: Sequence[MtdError], wanted: int) -> MtdError:
    """One error for all: the error itself where there is only one, or it is always the same."""
    texts = dict.fromkeys(map(str, failures))
    if len(texts) == 1:
        return failures[0]
    lines = "".join(f"\n  {text}" for text in texts)
    return EvaluationError(f"{len(failures)} failures in {wanted} measurements; what was measured is kept:{lines}")


def _pair(measurement: Measurement) -> tuple[str, str]:
    return measurement.model.label, measurement.task.name


def _shown(score: KeptScore) -> str:
    whole = {view.size: found.main for view, found in score.scores.items() if view.form == "float32"}
    return ", ".join(f"{size}: {100 * main:.2f}" for size, main in sorted(whole.items()))
