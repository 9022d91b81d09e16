"""Tasks that mteb knows by name, with data from the hub or from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtd_ray.config.base import fingerprint
from mtd_ray.evaluate.tasks.catalogue import Known, mteb_version
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.places import tables_of

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class NamedTask:
    """One of mteb's tasks, in the subsets and splits of ``known``.

    ``folder`` is where its Parquet files lie, None for the hub; ``parts`` are the tasks of which an aggregate is the mean.
    """

    known: Known
    identity: str
    folder: str | None = None
    parts: tuple[NamedTask, ...] = ()

    @property
    def name(self) -> str:
        return self.known.name

    @property
    def type(self) -> str:
        return self.known.type

    @property
    def from_hub(self) -> bool:
        return self.folder is None and all(part.from_hub for part in self.parts)

    def open(self, store: ObjectStore) -> Any:
        """mteb's own task with its data loaded.

        Raises:
            EvaluationError: the hub or the folder does not have it, or not as the task needs it.
            HubError: the hub does not answer, or is busy.
        """
        import mteb

        task = mteb.get_task(self.name, hf_subsets=self.known.subsets, eval_splits=self.known.splits)
        if self.parts:
            task.tasks = [part.open(store) for part in self.parts]
            task.metadata = task.metadata.model_copy(update={"tasks": task.tasks})  # which mteb.evaluate looks at
        elif self.folder is not None:
            from mtd_ray.evaluate.tasks.fill import fill

            fill(task, self.known, TaskFiles.at(self.folder, store))
        else:
            from mtd_ray.evaluate.tasks.hub import load_from_hub

            load_from_hub(task)
        return task


def named_task(known: Known, folder: str | None, files: TaskFiles | None, parts: tuple[NamedTask, ...] = ()) -> NamedTask:
    """A task with its identity: of the data, and of mteb, which decides how it is scored.

    Raises:
        EvaluationError: a table that it needs is missing.
    """
    data = known.revision if files is None else files.digest(tables_of(files, known))
    what = [known.name, known.subsets, known.splits, data, [part.identity for part in parts], mteb_version()]
    return NamedTask(known, fingerprint(what), folder, parts)
