"""Which tables a task of mteb's needs, by the names under which they may lie in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtd_ray.evaluate.tasks.catalogue import Known
from mtd_ray.evaluate.tasks.files import TaskFiles

DEFAULT = "default"
"""What mteb calls the only subset of a task that has one."""

OWN_SPLIT = "test"
"""The split on which a task of one's own is scored."""


@dataclass(frozen=True)
class RetrievalTables:
    """Where one split of a retrieval task lies; ``top_ranked`` and ``instructions`` are None where the task has none."""

    corpus: str
    queries: str
    qrels: str
    top_ranked: str | None
    instructions: str | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.corpus, self.queries, self.qrels, self.top_ranked, self.instructions) if name is not None]


def retrieval_tables(files: TaskFiles, subset: str, split: str) -> RetrievalTables:
    """The tables of a split. EvaluationError when documents, queries or judgements are missing."""
    top_ranked, instructions = (files.first(_spellings(part, subset, split)) for part in ("top_ranked", "instruction"))
    qrels = [*_spellings("qrels", subset, split), *([f"{DEFAULT}/{split}", split] if subset == DEFAULT else [])]
    folder = "" if subset == DEFAULT else f"{subset}/"
    return RetrievalTables(
        files.require(_spellings("corpus", subset, split), f"{folder}corpus.parquet (documents: _id, text, perhaps title)"),
        files.require(_spellings("queries", subset, split), f"{folder}queries.parquet (_id, text)"),
        files.require(qrels, f"{folder}qrels.parquet (what answers a query: query-id, corpus-id, score)"),
        top_ranked,
        instructions,
    )


def _spellings(part: str, subset: str, split: str) -> list[str]:
    names = [f"{part}_{split}", part, f"{part}/{split}", f"{part}/{part}"]
    return names if subset == DEFAULT else [f"{subset}/{name}" for name in names]


def row_tables(files: TaskFiles, task: Known, subset: str) -> dict[str, str]:
    """Split → table, for a task whose rows stand in one table per split.

    A task that rearranges its data may make a split from any other, so it gets all that are there.

    Raises:
        EvaluationError: a split that the task is scored on, or trained on, is missing.
    """
    prefixes = ("", f"{DEFAULT}/") if subset == DEFAULT else (f"{subset}/",)
    needed = dict.fromkeys([*task.splits, *([task.train] if task.train else [])])
    if task.transforms and (found := _all_splits(files, prefixes)):
        return found
    return {split: files.require([f"{prefix}{split}" for prefix in prefixes], f"{prefixes[0]}{split}.parquet") for split in needed}


def _all_splits(files: TaskFiles, prefixes: Sequence[str]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): name
        for prefix in prefixes
        for name in files.tables
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
    }


def tables_of(files: TaskFiles, task: Known) -> list[str]:
    """Every table that the task reads. EvaluationError when one is missing."""
    if task.kind == "retrieval":
        return [name for subset in task.subsets for split in task.splits for name in retrieval_tables(files, subset, split).names]
    return [name for subset in task.subsets for name in row_tables(files, task, subset).values()]
