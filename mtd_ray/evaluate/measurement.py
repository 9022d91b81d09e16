"""One model on one task: what is left to measure of it, and measuring that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mtd_ray.config import Form
from mtd_ray.evaluate.kept_scores import KeptScore, find_score, keep_score, score_key
from mtd_ray.evaluate.measuring.bases import AS_DOCUMENTS, BasesOf, CorpusTexts
from mtd_ray.evaluate.models.base import Access, Measured
from mtd_ray.evaluate.models.prompts import name_of_chosen
from mtd_ray.evaluate.tasks.task import Task
from mtd_ray.evaluate.views import View, views_for

if TYPE_CHECKING:
    from mtd_ray.evaluate.scores import TaskScore
    from mtd_ray.objects import ObjectStore

# A teacher's vectors are measured as they come; what may be made of them is not the question.
_IN_ALL_FORMS = ("student", "model")


@dataclass(frozen=True)
class Measurement:
    """A model on a task, in the forms that are asked for.

    Attributes:
        identity: the model's.
        known: what earlier measurements left.
        texts: what bases of the form ``pca`` are fitted on; None leaves that form out.
    """

    model: Measured
    task: Task
    forms: tuple[Form, ...]
    identity: str
    known: KeptScore
    texts: CorpusTexts | None = None

    @property
    def key(self) -> str:
        return score_key(self.identity, self.model.prompts, self.task)

    @property
    def name(self) -> str:
        return f"{self.model.label} on {self.task.name}"

    @property
    def missing(self) -> tuple[View, ...] | None:
        """Views that are not kept; None where only the loaded model knows its sizes."""
        sizes = self.model.sizes or self.known.sizes
        return self.missing_of(sizes) if sizes else None

    @property
    def left(self) -> bool:
        """Whether anything is to be measured."""
        return self.missing != ()

    @property
    def bases(self) -> BasesOf | None:
        """What must be fitted before it can run, or read while it does."""
        if self.texts is None or not any(view.form == "pca" for view in self.missing or ()):
            return None
        return BasesOf(self.identity, self.model.sizes, self.texts, self._prompt_of_bases)

    def without(self, form: Form) -> Measurement:
        """The same in the other forms."""
        return replace(self, forms=tuple(other for other in self.forms if other != form))

    def wanted(self, sizes: Sequence[int]) -> tuple[View, ...]:
        """All views of a model of these sizes."""
        forms = self.forms if self.model.role in _IN_ALL_FORMS else ()
        texts = self.texts.rows if self.texts is not None and self.model.sizes else 0
        found = views_for(sizes, forms, self.task.type)
        return tuple(view for view in found if view.form != "pca" or view.size <= texts)

    def missing_of(self, sizes: Sequence[int]) -> tuple[View, ...]:
        """Those of them that are not kept."""
        return tuple(view for view in self.wanted(sizes) if view not in self.known.usable(self._origin(sizes)).scores)

    def outcome(self, kept: KeptScore) -> KeptScore:
        """Of all that is kept, what was asked for."""
        wanted = self.wanted(self.model.sizes or kept.sizes)
        bounds = {view: kept.intervals[view] for view in wanted if view in kept.intervals}
        return replace(kept, scores={view: kept.scores[view] for view in wanted}, intervals=bounds)

    def run(self, store: ObjectStore, access: Access) -> KeptScore:
        """Measure what is missing, keep it, and return what was asked for.

        Raises:
            MtdError: the model or the task cannot be opened, or a text cannot be embedded.
        """
        from mtd_ray.evaluate.measuring.measure import measure  # mteb takes seconds to import, and only here
        from mtd_ray.evaluate.mteb_results import described

        with self.model.open(store, access) as encoder:
            views = self.missing_of(encoder.sizes)
            bases = self.bases.read(store) if self.bases is not None else {}
            scores = measure(encoder, self.task.open(store), views, bases=bases)
            meta = described(encoder.about)
        return self.outcome(keep_score(store, self.key, self._record(encoder.sizes, meta, scores)))

    def _record(self, sizes: tuple[int, ...], meta: dict[str, Any], scores: Mapping[View, TaskScore]) -> KeptScore:
        from mtd_ray.evaluate.statistics.intervals import interval

        bounds = {view: interval(score) for view, score in scores.items()}
        return KeptScore(
            task=self.task.name,
            sizes=() if self.model.sizes else sizes,
            meta=meta,
            scores=scores,
            intervals={view: found for view, found in bounds.items() if found is not None},
            origin=self._origin(sizes) if any(view.derived for view in scores) else "",
        )

    def _origin(self, sizes: Sequence[int]) -> str:
        return f"{max(sizes)} {self.texts.digest if self.texts is not None else ''} {self._prompt_of_bases!r}"

    @property
    def _prompt_of_bases(self) -> str | None:
        return name_of_chosen(self.model.prompts, AS_DOCUMENTS)


def planned(
    store: ObjectStore, model: Measured, tasks: Sequence[Task], forms: tuple[Form, ...], texts: CorpusTexts | None = None
) -> list[Measurement]:
    """A model's measurements, with what is kept of each.

    Raises:
        EvaluationError: a kept record is damaged.
        MtdError: the model is not there.
    """
    identity = model.identity(store)
    known = [find_score(store, score_key(identity, model.prompts, task)) or KeptScore(task.name) for task in tasks]
    return [Measurement(model, task, forms, identity, found, texts) for task, found in zip(tasks, known, strict=True)]
