"""Tasks from a corpus's pairs."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.corpus.manifest import PAIRS_SCHEMA, content_hash
from mtd_ray.errors import CorpusError, EvaluationError
from mtd_ray.evaluate.tasks import PairsTask
from mtd_ray.evaluate.tasks.texts import RetrievalTexts
from mtd_ray.objects import ObjectStore


def pairs(*rows: tuple[str, str]) -> pa.Table:
    return pa.table({"query": [query for query, _ in rows], "passage": [passage for _, passage in rows]}, PAIRS_SCHEMA)


def kept(store: ObjectStore, table: pa.Table) -> PairsTask:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.put("pairs/docs.parquet", sink.getvalue().to_pybytes())
    return PairsTask("docs", "pairs/docs.parquet", content_hash(table))


def test_repeated_texts_are_one_text() -> None:
    texts = RetrievalTexts.from_pairs("t", pairs(("a", "x"), ("a", "y"), ("b ", " x"), ("b", "x")))
    assert texts.queries == ("a", "b")
    assert texts.passages == ("x", "y")
    assert texts.relevant == ((0, 1), (0,))


@pytest.mark.parametrize(
    ("rows", "message"), [((("a", "x"), ("b", "x")), "1 distinct passages"), ((("a", "x"), (" ", "y")), "row 1 .* query")]
)
def test_unusable_pairs_are_refused(rows: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        RetrievalTexts.from_pairs("t", pairs(*rows))


def test_pairs_open_as_a_retrieval_task_of_their_name(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    task = pickle.loads(pickle.dumps(kept(store, pairs(("a", "x"), ("a", "y"), ("b", "z"))))).open(store)
    split = task.dataset["default"]["test"]
    assert (task.metadata.name, task.metadata.type, task.data_loaded) == ("docs", "Retrieval", True)
    assert split["corpus"]["text"] == ["x", "y", "z"]
    assert split["queries"]["text"] == ["a", "b"]
    assert split["relevant_docs"] == {"q0": {"p0": 1, "p1": 1}, "q1": {"p2": 1}}


def test_pairs_that_are_not_those_of_the_corpus_are_refused(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    task = kept(store, pairs(("a", "x"), ("b", "y")))
    kept(store, pairs(("a", "x"), ("b", "z")))
    with pytest.raises(CorpusError, match="content hash differs"):
        task.open(store)
