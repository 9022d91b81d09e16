"""Two or more models on the same tasks: how far they are apart, and whether chance could have made that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models import Measured, ModelFolder
from mtd_ray.evaluate.models.elsewhere import PublishedModel
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.statistics.intervals import Difference, difference, mean_difference
from mtd_ray.evaluate.tasks import Task
from mtd_ray.evaluate.views import View

if TYPE_CHECKING:
    from mtd_ray.evaluate.results import Scores
    from mtd_ray.objects import ObjectStore

_LEVEL = 0.05


@dataclass(frozen=True)
class Candidate:
    """A model that is compared. ``size`` is what a plain load of it gives; None where it has only one."""

    model: Measured
    size: int | None = None


@dataclass(frozen=True)
class ComparedTask:
    """Two models on a task: both scores, 0 to 1, and how far the second is above the first."""

    task: str
    first: float
    second: float
    difference: Difference


@dataclass(frozen=True)
class ComparedSizes:
    """All tasks, with vectors of ``first`` numbers of one model and of ``second`` of the other.

    ``mean`` is over the tasks; None of a single one.
    """

    first: int
    second: int
    tasks: tuple[ComparedTask, ...]
    mean: ComparedTask | None

    @property
    def significant(self) -> tuple[ComparedTask, ...]:
        """The tasks on which chance is ruled out at 5 % over all of them (Holm's step-down procedure)."""
        known = sorted((task for task in self.tasks if task.difference.p is not None), key=_p)
        found: list[ComparedTask] = []
        for left, task in zip(range(len(known), 0, -1), known, strict=True):
            if _p(task) * left > _LEVEL:
                break
            found.append(task)
        return tuple(found)


@dataclass(frozen=True)
class Comparison:
    """Two models: at their default sizes first, then at every size that both have."""

    first: str
    second: str
    sizes: tuple[ComparedSizes, ...]


def candidates(places: Sequence[str], *, cpus: float = 1.0, gpus: float = 0.0) -> tuple[Candidate, ...]:
    """Models by where they are: folders, hub names, ``package:NAME/SUBFOLDER``, ``s3://`` URLs of runs or of their students.

    Args:
        cpus, gpus: what measuring one takes.

    Raises:
        EvaluationError: a model is given twice.
        MtdError: a model is not there.
    """
    return tuple(_candidate(place, name, cpus, gpus) for place, name in zip(places, _names(places), strict=True))


def compare(store: ObjectStore, models: Sequence[Candidate], tasks: Sequence[Task]) -> tuple[Comparison, ...]:
    """The first model with each of the others; what is kept in the store is not measured again. Ray must be connected.

    Raises:
        MtdError: a measurement failed.
    """
    from mtd_ray.evaluate.runner import measure_all

    scores = measure_all(store, [candidate.model for candidate in models], tasks)
    names = [task.name for task in tasks]
    return tuple(compared(scores, names, models[0], other) for other in models[1:])


def compared(scores: Scores, tasks: Sequence[str], first: Candidate, second: Candidate) -> Comparison:
    """Two models whose scores are known, by the model's label and the task's name, then by view."""
    one, other = ({task: scores[candidate.model.label, task] for task in tasks} for candidate in (first, second))
    # Every task is measured at every size.
    sizes = [{view.size for view in views[tasks[0]] if view.form == "float32"} for views in (one, other)]
    default = first.size or max(sizes[0]), second.size or max(sizes[1])
    same = [(size, size) for size in sorted(sizes[0] & sizes[1], reverse=True) if (size, size) != default]
    return Comparison(
        first.model.name,
        second.model.name,
        tuple(_at(a, b, [(task, one[task][View(a)], other[task][View(b)]) for task in tasks]) for a, b in (default, *same)),
    )


def _at(first: int, second: int, scores: Sequence[tuple[str, TaskScore, TaskScore]]) -> ComparedSizes:
    tasks = tuple(ComparedTask(task, one.main, other.main, difference(other, one)) for task, one, other in scores)
    if len(tasks) == 1:
        return ComparedSizes(first, second, tasks, None)
    means = [sum(values) / len(tasks) for values in zip(*((one.main, other.main) for _, one, other in scores), strict=True)]
    over = mean_difference([(other, one) for _, one, other in scores])
    return ComparedSizes(first, second, tasks, ComparedTask(f"mean of {len(tasks)} tasks", means[0], means[1], over))


def _candidate(place: str, name: str, cpus: float, gpus: float) -> Candidate:
    if place.startswith("s3://"):
        published = PublishedModel(place.rstrip("/"), name, cpus, gpus)
        return Candidate(published, published.default_size())
    from mtd_ray.encoder.files import local_copy  # bring PyTorch
    from mtd_ray.encoder.heads import default_size
    from mtd_ray.encoder.models import locate_model

    model = ModelFolder(locate_model(place), name, cpus=cpus, gpus=gpus)
    return Candidate(model, default_size(str(local_copy(model.model))))


def _names(places: Sequence[str]) -> list[str]:
    """The last part of each path, or as many as tell the models apart; of a run's student, the run."""
    parts = [[part for part in _whole(place).split("/") if part] for place in places]
    plain = [part[:-1] if len(part) > 1 and part[-1] == "student" else part for part in parts]
    for count in range(1, max(map(len, plain)) + 1):
        names = ["/".join(part[-count:]) for part in plain]
        if len(set(names)) == len(names):
            return names
    twice = next(place for place, part in zip(places, plain, strict=True) if plain.count(part) > 1)
    raise EvaluationError(f"{twice} is given twice: a model is compared with others")


def _whole(place: str) -> str:
    """A folder's whole path, for ``.`` is no name; a package without the word."""
    folder = Path(place).expanduser()
    return str(folder.resolve()) if folder.is_dir() else place.removeprefix("package:")


def _p(task: ComparedTask) -> float:
    return 1.0 if task.difference.p is None else task.difference.p
