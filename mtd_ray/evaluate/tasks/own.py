"""Tasks of one's own: Parquet files in a folder, scored by mteb's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.kinds import OWN_KINDS
from mtd_ray.evaluate.tasks.places import DEFAULT, OWN_SPLIT, retrieval_tables

if TYPE_CHECKING:
    from mtd_ray.config.evaluate import OwnTask
    from mtd_ray.evaluate.tasks.task import Task
    from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class OwnData:
    """A task of one's own: its kind as a recipe names it, the folder of its files, and their digest."""

    name: str
    kind: str
    folder: str
    identity: str

    @property
    def type(self) -> str:
        return OWN_KINDS[self.kind].type

    @property
    def parts(self) -> tuple[Task, ...]:
        return ()

    @property
    def from_hub(self) -> bool:
        return False

    def open(self, store: ObjectStore) -> Any:
        """One of mteb's tasks, filled.

        Raises:
            EvaluationError: a file or column is missing, or a row cannot be used; says which.
        """
        from mtd_ray.evaluate.tasks.classes import own_task
        from mtd_ray.evaluate.tasks.rows import checked_rows

        files = TaskFiles.at(self.folder, store)
        task = own_task(self.name, self.type)
        task.dataset = checked_rows(files, OWN_KINDS[self.kind]) if OWN_KINDS[self.kind].texts else _retrieval(files)
        task.data_loaded = True
        return task


def own_data(name: str, config: OwnTask, folder: str, files: TaskFiles) -> OwnData:
    """A task of one's own, with the digest of its files. EvaluationError when one is missing."""
    return OwnData(name, config.type, folder, files.digest(own_tables(config, files)))


def own_tables(config: OwnTask, files: TaskFiles) -> list[str]:
    """Every table that such a task reads. EvaluationError when one is missing."""
    kind = OWN_KINDS[config.type]
    if not kind.texts:
        return retrieval_tables(files, DEFAULT, OWN_SPLIT).names
    return [files.require([split], f"{split}.parquet, which a task of type {config.type} needs") for split in kind.splits]


def check_own(config: OwnTask, files: TaskFiles) -> None:
    """EvaluationError when a table is missing, or a column of one that is not retrieval's; reads no rows."""
    kind = OWN_KINDS[config.type]
    for table in own_tables(config, files):
        if kind.texts:
            files.require_columns(table, (*kind.texts, kind.gold))


def _retrieval(files: TaskFiles) -> dict[str, Any]:
    from mtd_ray.evaluate.tasks.retrieval import retrieval_split

    split = retrieval_split(files, retrieval_tables(files, DEFAULT, OWN_SPLIT))
    documents = set(split["corpus"]["id"])
    for query, judged in split["relevant_docs"].items():
        if strangers := judged.keys() - documents:
            raise EvaluationError(f"{files.where}: query {query!r} is answered by {min(strangers)!r}, which is no document")
    return {DEFAULT: {OWN_SPLIT: split}}
