"""Documents, queries and judgements from Parquet, in the form that mteb's retrieval tasks hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from mtd_ray.config.nearest import nearest
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.places import RetrievalTables

Relevant = dict[str, dict[str, int]]
"""Query → document → how relevant it is; 0 is judged and not relevant."""


def retrieval_split(files: TaskFiles, tables: RetrievalTables) -> dict[str, Any]:
    """One split as an ``mteb.abstasks.retrieval_dataset_loaders.RetrievalSplitData``. Queries without a judgement are left out.

    Raises:
        EvaluationError: a column is missing or of the wrong type, an id stands twice, no query is judged, or a document that is to
            be ranked is none of the corpus.
    """
    relevant = _relevant(files, tables.qrels)
    queries = _texts(files, tables.queries)
    queries = queries.filter(pc.is_in(queries.column("id"), value_set=pa.array(relevant, pa.string())))
    if not queries.num_rows:
        raise EvaluationError(f"{files.where}: no query of {tables.queries} is judged in {tables.qrels}")
    if tables.instructions is not None:
        queries = _with_instructions(files, tables.instructions, queries)
    documents = _texts(files, tables.corpus)
    return {
        "corpus": Dataset(documents),
        "queries": Dataset(queries),
        "relevant_docs": relevant,
        "top_ranked": None if tables.top_ranked is None else _top_ranked(files, tables.top_ranked, documents),
    }


def column(files: TaskFiles, table: pa.Table, name: str, *spellings: str) -> pa.ChunkedArray:
    """The first column of a file that has one of these names. EvaluationError, with what there is, when none has."""
    for spelling in spellings:
        if spelling in table.column_names:
            return table.column(spelling)
    words = " or ".join(repr(spelling) for spelling in spellings)
    raise EvaluationError(f"{files.where}: {name} has no column {words}; {nearest(spellings[0], files.columns(name))}")


def _texts(files: TaskFiles, name: str) -> pa.Table:
    """``id`` and ``text``, and what mteb reads besides; without nulls, which its loaders cannot take."""
    table = files.read(name, ("id", "_id", "text", "title", "instruction"))
    ids = _strings(files, table, name, "_id", "id")
    if (distinct := pc.count_distinct(ids).as_py()) != len(ids):
        raise EvaluationError(f"{files.where}: {name} has {len(ids)} rows and only {distinct} distinct ids")
    texts = column(files, table, name, "text")
    if not pa.types.is_list(texts.type):  # turns of a conversation stay as they are
        texts = pc.fill_null(_cast(files, name, "text", texts, pa.large_string()), "")
    others = {
        key: pc.fill_null(_cast(files, name, key, table.column(key), pa.large_string()), "")  # one without any text has no type
        for key in ("title", "instruction")
        if key in table.column_names
    }
    return pa.table({"id": ids, "text": texts, **others})


def _strings(files: TaskFiles, table: pa.Table, name: str, *spellings: str) -> pa.ChunkedArray:
    return _filled(files, table, name, pa.string(), *spellings)


def _filled(files: TaskFiles, table: pa.Table, name: str, kind: pa.DataType, *spellings: str) -> pa.ChunkedArray:
    """A column as another type, of which no row is null."""
    found = _cast(files, name, spellings[0], column(files, table, name, *spellings), kind)
    if found.null_count:
        raise EvaluationError(f"{files.where}: {name} has {found.null_count} rows without {spellings[0]!r}")
    return found


def _cast(files: TaskFiles, name: str, key: str, values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return values.cast(kind, safe=False)
    except pa.ArrowException:
        raise EvaluationError(f"{files.where}: column {key!r} of {name} holds {values.type}, not {kind}") from None


def _relevant(files: TaskFiles, name: str) -> Relevant:
    table = files.read(name, ("query-id", "corpus-id", "score"))
    queries, documents = (_strings(files, table, name, key).to_pylist() for key in ("query-id", "corpus-id"))
    scores = _filled(files, table, name, pa.int32(), "score").to_pylist()
    relevant: Relevant = {}
    for query, document, score in zip(queries, documents, scores, strict=True):
        relevant.setdefault(query, {})[document] = score
    return relevant


def _top_ranked(files: TaskFiles, name: str, documents: pa.Table) -> dict[str, list[str]]:
    """Query → documents that are to be ranked."""
    table = files.read(name, ("query-id", "corpus-ids"))
    queries = _strings(files, table, name, "query-id").to_pylist()
    ranked = _filled(files, table, name, pa.list_(pa.string()), "corpus-ids").to_pylist()
    known = set(documents.column("id").to_pylist())
    for query, candidates in zip(queries, ranked, strict=True):
        if strangers := [one for one in candidates if one not in known]:
            raise EvaluationError(f"{files.where}: {name} ranks {strangers[0]!r} for query {query!r}, which is no document")
    return dict(zip(queries, ranked, strict=True))


def _with_instructions(files: TaskFiles, name: str, queries: pa.Table) -> pa.Table:
    table = files.read(name, ("query-id", "instruction"))
    by_query = dict(
        zip(
            _strings(files, table, name, "query-id").to_pylist(), column(files, table, name, "instruction").to_pylist(), strict=True
        )
    )
    missing = [query for query in queries.column("id").to_pylist() if query not in by_query]
    if missing:
        raise EvaluationError(f"{files.where}: {name} has no instruction for query {missing[0]!r}")
    instructions = pa.array([by_query[query] for query in queries.column("id").to_pylist()], pa.string())
    return queries.append_column("instruction", instructions)
