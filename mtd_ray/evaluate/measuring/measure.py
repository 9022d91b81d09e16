"""One model on one task: mteb's scores of every view of its vectors, from one pass over the texts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import mteb
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.results import TaskResult

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.measuring.forms import Bases, made_of
from mtd_ray.evaluate.measuring.lookup import Library, Lookup
from mtd_ray.evaluate.measuring.samples import Heard, Lengths, Samples, listening, of_pairs, of_queries, of_repeated
from mtd_ray.evaluate.models.base import TextEncoder
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View

_ORDER = ("float32", "binary", "cut", "pca", "int8")


def measure(encoder: TextEncoder, task: Any, views: Sequence[View], *, bases: Bases | None = None) -> dict[View, TaskScore]:
    """Score a model on an opened ``mteb.AbsTask``, in each view.

    Every distinct text is embedded once. Vectors of all sizes lie in a temporary folder meanwhile (``TMPDIR`` says where): per text
    4 bytes for each number. Whatever mteb draws at random is the same for every view and every model.

    Retrieval and reranking hold in memory the task's texts, what was found, and some blocks of vectors of a quarter of a gigabyte
    each. Of other tasks mteb takes all vectors of one size at once: those of float32 and cut are read from the file, unless texts
    repeat; of other forms there is one copy in memory. Classification and clustering then make copies of their own.

    Args:
        bases: for the form ``pca``: size → (largest size, size), see :func:`mtd_ray.evaluate.measuring.pca.fit_pca`.

    Raises:
        EvaluationError: the model does not give vectors of a view's size, or a basis is not there.
        MtdError: a text cannot be embedded.
    """
    _check(encoder, views)
    with tempfile.TemporaryDirectory(prefix="mtd-ray-vectors-") as folder, _quiet():
        sizes = sorted({made_of(view, max(encoder.sizes)) for view in views})
        parts = [_Part(encoder, part, Path(folder) / str(number), sizes) for number, part in enumerate(_parts(task))]
        order = sorted(views, key=lambda view: _ORDER.index(view.form))
        if order and order[0].form == "int8":  # which is calibrated on all of the task's texts: another view embeds them
            _score(task, parts, View(order[0].size), {})
        scores = {view: _score(task, parts, view, bases or {}) for view in order}
        return {view: scores[view] for view in views}


def _check(encoder: TextEncoder, views: Sequence[View]) -> None:
    known = ", ".join(map(str, encoder.sizes))
    for view in views:
        if made_of(view, max(encoder.sizes)) not in encoder.sizes or view.size > max(encoder.sizes):
            raise EvaluationError(f"{encoder.about.name} gives vectors of {known} numbers: it cannot be measured at {view}")


def _parts(task: Any) -> Iterator[Any]:
    """The tasks that a task is made of; itself, if it is a single one."""
    if isinstance(task, AbsTaskAggregate):
        for part in task.tasks:
            yield from _parts(part)
    else:
        yield task


def _score(task: Any, parts: Sequence[_Part], view: View, bases: Bases) -> TaskScore:
    results, samples = zip(*(part.score(view, bases) for part in parts), strict=True)
    whole = _combined(task, list(results))
    found = Samples.joined(samples)
    prompts = {side: prompt for part in parts for side, prompt in part.library.prompts.items()}
    return TaskScore(
        main=float(whole.get_score()),
        kind=found.kind,
        items=found.items,
        gold=found.gold,
        groups=found.groups,
        lengths=found.lengths,
        prompts=prompts,
        mteb=whole.model_dump(mode="json"),
        failed=sum(part.library.failed for part in parts),
    )


def _combined(task: Any, results: list[TaskResult]) -> TaskResult:
    """Consumes the results of a task's parts, in their order."""
    if not isinstance(task, AbsTaskAggregate):
        return results.pop(0)
    combined: TaskResult = task.combine_task_results([_combined(part, results) for part in task.tasks])
    return combined


class _Part:
    """A single task, and what was embedded of it."""

    def __init__(self, encoder: TextEncoder, task: Any, folder: Path, sizes: Sequence[int]) -> None:
        folder.mkdir()
        self.library = Library(encoder, folder, sizes)
        self._task, self._lengths = task, Lengths(encoder)
        if isinstance(task, AbsTaskRetrieval):
            task.convert_v1_dataset_format_to_v2(None)  # here, so that it is not done for every view

    def score(self, view: View, bases: Bases) -> tuple[TaskResult, Samples]:
        lookup, heard = Lookup(self.library, view, bases), Heard()
        task = listening(self._task, heard)
        (result,) = mteb.evaluate(lookup, task, cache=None, show_progress_bar=False, co2_tracker=False).task_results
        return result, self._samples(result, heard, lookup)

    def _samples(self, result: TaskResult, heard: Heard, lookup: Lookup) -> Samples:
        subsets = [(split, subset) for split, found in result.scores.items() for subset in found]
        places = [(split, subset["hf_subset"]) for split, subset in subsets]
        if heard.scores:
            return of_queries(self._task, places, heard, self.library, self._lengths)
        if self._task.metadata.type == "STS":
            return of_pairs(self._task, places, lookup.cosines, self._lengths)
        return of_repeated(self._task, [subset for _, subset in subsets])


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of tables that mteb prepares."""
    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
