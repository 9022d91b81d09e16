"""From what a recipe or a command line names to tasks: everything that can be wrong with a name or a folder is found here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mtd_ray.config.nearest import nearest
from mtd_ray.config.rules_evaluation import pair_names
from mtd_ray.errors import EvaluationError, RecipeError
from mtd_ray.evaluate.tasks.catalogue import Known, Selection, catalogue
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.named import NamedTask, named_task
from mtd_ray.evaluate.tasks.own import OwnData, check_own, own_data
from mtd_ray.evaluate.tasks.pairs import PairsTask
from mtd_ray.evaluate.tasks.places import tables_of
from mtd_ray.evaluate.tasks.task import Task
from mtd_ray.objects import ObjectStore

if TYPE_CHECKING:
    from mtd_ray.config import Recipe
    from mtd_ray.config.evaluate import OwnTask
    from mtd_ray.corpus import Manifest

_READERS = 8


def tasks_of(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> tuple[Task, ...]:
    """What a recipe measures on, in the order of a report: the corpus's pairs, mteb's tasks and benchmarks, own tasks.

    Raises:
        EvaluationError: a name is unknown or stands for two tasks, or data in a folder is not there.
        StorageError: a folder on an object store cannot be read.
    """
    wanted = recipe.evaluate
    pairs = tuple(PairsTask(name, key, manifest.pairs_sha256[name]) for name, key in manifest.pairs.items())
    named = named_tasks(wanted.tasks, wanted.benchmarks, wanted.data, store)
    tasks: tuple[Task, ...] = (*pairs, *named, *own_tasks(wanted.own, store))
    _check_names([task.name for task in tasks])
    return tasks


def check_tasks(store: ObjectStore, recipe: Recipe) -> None:
    """Find what :func:`tasks_of` would find wrong, before there is a corpus: reads which files there are, and of own ones
    which columns.

    Raises:
        EvaluationError: a name is unknown or stands for two tasks, or data in a folder is not there.
        RecipeError: a task that is required is not measured.
        StorageError: a folder on an object store cannot be read.
    """
    wanted = recipe.evaluate
    chosen = _chosen(wanted.tasks, wanted.benchmarks)
    folder = None if wanted.data is None else _DataFolder(wanted.data, store)
    if folder is not None:
        with ThreadPoolExecutor(_READERS) as readers:
            list(readers.map(folder.check, chosen))
    for config in wanted.own.values():
        check_own(config, TaskFiles.at(_absolute(config.path), store))
    names = [*pair_names(recipe), *(task.name for task in chosen), *wanted.own]
    _check_names(names)
    if strange := [name for name in recipe.require.tasks if name not in names]:
        raise RecipeError(f"require.tasks.{strange[0]}: this task is not measured; {nearest(strange[0], names)}")


def named_tasks(
    names: Sequence[str], benchmarks: Sequence[str], data: str | None, storage: ObjectStore | None = None
) -> tuple[NamedTask, ...]:
    """Tasks that mteb knows: those named, then those of the benchmarks that were not.

    Args:
        data: folder or ``s3://`` prefix; a task that has a folder of its name there is read from it, others from the hub.
        storage: whose endpoint and region ``s3://`` is read with; left out, those of the environment.

    Raises:
        EvaluationError: mteb does not know a name or is not installed, a task needs more than text, two names choose different
            parts of one task, or data in a folder is not there.
        StorageError: the object store cannot be read.
    """
    chosen = _chosen(names, benchmarks)
    folder = None if data is None or not chosen else _DataFolder(data, storage)
    with ThreadPoolExecutor(_READERS) as readers:  # every task of a folder is a listing, and files to be hashed
        return tuple(readers.map(lambda task: _task(task, folder), chosen))


def own_tasks(own: Mapping[str, OwnTask], storage: ObjectStore) -> tuple[OwnData, ...]:
    """Tasks of one's own. EvaluationError when a file is missing that the type needs."""
    found = []
    for name, config in own.items():
        path = _absolute(config.path)
        found.append(own_data(name, config, path, TaskFiles.at(path, storage)))
    return tuple(found)


def _check_names(names: Sequence[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise EvaluationError(f"two evaluation tasks are called {twice[0]!r}: rename yours in evaluate.own or evaluate.pairs")


def _chosen(names: Sequence[str], benchmarks: Sequence[str]) -> list[Known]:
    """Tasks by name, then those of the benchmarks; each once. mteb is asked only if there are any."""
    if not names and not benchmarks:
        return []
    known = catalogue()
    chosen = [(known.task(name), "by its name") for name in dict.fromkeys(names)]
    for benchmark in dict.fromkeys(benchmarks):
        chosen += [(_of(selection), f"by {benchmark}") for selection in known.benchmark(benchmark)]
    return _merged(chosen)


def _of(selection: Selection) -> Known:
    return catalogue().task(selection.name).of(selection)


def _merged(chosen: Iterable[tuple[Known, str]]) -> list[Known]:
    """Each task once; all must be of text alone."""
    merged: dict[str, tuple[Known, str]] = {}
    for task, how in chosen:
        if set(task.modalities) != {"text"}:
            others = " and ".join(sorted(set(task.modalities) - {"text"}))
            raise EvaluationError(f"task {task.name!r}, chosen {how}, is about {others}: only tasks of text can be measured")
        first, first_how = merged.setdefault(task.name, (task, how))
        if first != task:
            raise EvaluationError(
                f"task {task.name!r} comes {first_how} with {_parts(first)} and {how} with {_parts(task)}: leave one of them out"
            )
    return [task for task, _ in merged.values()]


def _parts(task: Known) -> str:
    return f"{', '.join(task.subsets)} ({', '.join(task.splits)})"


def _task(task: Known, data: _DataFolder | None) -> NamedTask:
    parts = tuple(_task(_of(part), data) for part in task.parts)
    folder, files = (None, None) if data is None or parts else data.find(task.name)
    return named_task(task, folder, files, parts)


class _DataFolder:
    """Where the folders of mteb's tasks lie."""

    def __init__(self, path: str, storage: ObjectStore | None) -> None:
        self.path = _absolute(path)
        self._on_disk = not path.startswith("s3://")
        if self._on_disk and not Path(self.path).is_dir():
            raise EvaluationError(f"evaluate.data: there is no folder {self.path}")
        self._storage = storage or ObjectStore(self.path)

    def find(self, name: str) -> tuple[str, TaskFiles] | tuple[None, None]:
        """A task's folder and its files, if it has one."""
        place = f"{self.path}/{name}"
        if self._on_disk:
            return (place, TaskFiles.at(place, self._storage)) if Path(place).is_dir() else (None, None)
        try:
            return place, TaskFiles.at(place, self._storage)
        except EvaluationError:  # a prefix without objects is what a missing folder is there
            return None, None

    def check(self, task: Known) -> None:
        """EvaluationError when a table of a task, or of one of its parts, is missing in its folder."""
        for part in task.parts:
            self.check(_of(part))
        _, files = (None, None) if task.parts else self.find(task.name)
        if files is not None:
            tables_of(files, task)


def _absolute(path: str) -> str:
    """Workers run in other directories."""
    return path.rstrip("/") if path.startswith("s3://") else str(Path(path).expanduser().absolute())
