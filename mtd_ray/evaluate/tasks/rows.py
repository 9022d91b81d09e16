"""Rows of a task of one's own: read and checked, for what mteb would only stumble over in the middle."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from mtd_ray.config.nearest import nearest
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.kinds import OwnKind
from mtd_ray.evaluate.tasks.places import OWN_SPLIT


def checked_rows(files: TaskFiles, kind: OwnKind) -> DatasetDict:
    """The splits of a task whose rows stand in one table per split.

    Raises:
        EvaluationError: a column is missing or of the wrong type, a text is empty, or there is nothing to tell apart.
    """
    tables = {split: _checked(files, split, kind.texts, kind.gold) for split in kind.splits}
    _check_gold(files, kind, tables)
    if kind.type == "Classification":
        tables = _numbered(tables)
    return DatasetDict({split: Dataset(table) for split, table in tables.items()})


def _checked(files: TaskFiles, split: str, texts: tuple[str, ...], gold: str) -> pa.Table:
    wanted = (*texts, gold)
    table = files.read(split)
    for name in wanted:
        if name not in table.column_names:
            raise EvaluationError(f"{files.where}: {split} has no column {name!r}; {nearest(name, table.column_names)}")
        if (row := pc.index(pc.is_null(table.column(name)), True).as_py()) >= 0:
            raise EvaluationError(f"{files.where}: {split} has nothing in column {name!r} of row {row}")
    for name in texts:
        _check_texts(files, split, name, table.column(name))
    return table.select(wanted)


def _check_texts(files: TaskFiles, split: str, name: str, column: pa.ChunkedArray) -> None:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)):
        raise EvaluationError(f"{files.where}: column {name!r} of {split} holds {column.type}, not text")
    if (row := pc.index(pc.equal(pc.utf8_trim_whitespace(column), ""), True).as_py()) >= 0:
        raise EvaluationError(f"{files.where}: column {name!r} of {split} is empty in row {row}; remove the row")


def _check_gold(files: TaskFiles, kind: OwnKind, tables: dict[str, pa.Table]) -> None:
    gold = tables[OWN_SPLIT].column(kind.gold)
    distinct: set[Any] = set(pc.unique(gold).to_pylist())
    if kind.type == "STS" and not (pa.types.is_floating(gold.type) or pa.types.is_integer(gold.type)):
        raise EvaluationError(f"{files.where}: column 'score' of {OWN_SPLIT} holds {gold.type}, not numbers")
    if kind.type == "PairClassification" and not distinct <= {0, 1}:
        strange = min(map(str, distinct - {0, 1}))
        raise EvaluationError(f"{files.where}: column 'label' of {OWN_SPLIT} holds {strange}; a pair is 1 (belongs together) or 0")
    if len(distinct) < 2:
        raise EvaluationError(f"{files.where}: all {len(gold)} rows of {OWN_SPLIT} have the same {kind.gold}")
    if kind.type == "Classification" and (unseen := distinct - set(pc.unique(tables["train"].column("label")).to_pylist())):
        raise EvaluationError(f"{files.where}: no row of train has the label {min(map(str, unseen))} of {OWN_SPLIT}")


def _numbered(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Labels as 0, 1, … in their order: mteb's average precision of two classes takes 1 for the second."""
    labels = pa.array(sorted({label for table in tables.values() for label in table.column("label").to_pylist()}))
    return {
        split: table.set_column(table.schema.get_field_index("label"), "label", pc.index_in(table.column("label"), labels))
        for split, table in tables.items()
    }
