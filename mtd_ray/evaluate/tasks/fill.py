"""Fills one of mteb's tasks with the data of a folder, as mteb would have filled it from the hub."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks.catalogue import Known
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.places import DEFAULT, retrieval_tables, row_tables
from mtd_ray.evaluate.tasks.retrieval import retrieval_split


def fill(task: Any, known: Known, files: TaskFiles) -> None:
    """Load a task's subsets and splits, and let the task rearrange them.

    Raises:
        EvaluationError: a table or column is missing, or the task cannot rearrange what it was given.
    """
    if known.kind == "retrieval":
        _fill_retrieval(task, known, files)
    else:
        _fill_rows(task, known, files)
        _check_columns(task, known, files)
    task.data_loaded = True


def _fill_retrieval(task: Any, known: Known, files: TaskFiles) -> None:
    task.dataset = {
        subset: {split: retrieval_split(files, retrieval_tables(files, subset, split)) for split in known.splits}
        for subset in known.subsets
    }
    if type(task).load_data is AbsTaskRetrieval.load_data:  # others load a form of their own, which the folder does not have
        _transform(task, files)


def _fill_rows(task: Any, known: Known, files: TaskFiles) -> None:
    by_subset = {
        subset: DatasetDict({split: Dataset(files.read(name)) for split, name in row_tables(files, known, subset).items()})
        for subset in known.subsets
    }
    task.dataset = by_subset if known.multilingual else by_subset[DEFAULT]
    _transform(task, files)


def _transform(task: Any, files: TaskFiles) -> None:
    try:
        task.dataset_transform()
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise EvaluationError(
            f"{files.where}: mteb's {task.metadata.name} cannot use these files ({type(error).__name__}: {error}); it expects the "
            f"splits and columns of {task.metadata.dataset['path']} on the hub"
        ) from error


def _check_columns(task: Any, known: Known, files: TaskFiles) -> None:
    needed = _columns(task)
    for subset in known.subsets:
        splits = task.dataset[subset] if known.multilingual else task.dataset
        for split in known.splits:
            if split not in splits:
                raise EvaluationError(f"{files.where}: mteb's {task.metadata.name} found no split {split!r} for {subset!r}")
            if missing := needed - set(splits[split].column_names):
                there = ", ".join(splits[split].column_names)
                raise EvaluationError(f"{files.where}: {split} of {subset!r} has no column {sorted(missing)}; it has {there}")


def _columns(task: Any) -> set[str]:
    """What a task says of the columns it reads."""
    found = {
        getattr(task, name, None) for name in ("input_column_name", "input1_column_name", "input2_column_name", "label_column_name")
    }
    pair = getattr(task, "column_names", ()) if isinstance(task, AbsTaskSTS) else ()
    return {name for name in (*found, *pair) if isinstance(name, str)} | ({"score"} if isinstance(task, AbsTaskSTS) else set())
