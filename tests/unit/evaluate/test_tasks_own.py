"""Tasks of one's own: each layout is scored by mteb's class, and what is wrong in it is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mtd_ray.config.evaluate import OwnTask
from mtd_ray.corpus.files import SourceFile
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks import OwnData, own_tasks
from mtd_ray.evaluate.tasks.files import TaskFiles
from mtd_ray.evaluate.tasks.own import check_own
from mtd_ray.objects import ObjectStore

Tables = dict[str, dict[str, Sequence[Any]]]
EASY = [f"{letter} {number}" for number in range(10) for letter in "ab"]
LETTERS = ["a", "b"] * 10

# Perfect for whoever sees the first letter of a text.
LAYOUTS: dict[str, Tables] = {
    "retrieval": {
        "corpus": {"_id": ["d1", "d2"], "title": ["a title", None], "text": ["one", "b two"]},
        "queries": {"_id": [1, 2, 3], "text": ["a?", "b?", "never judged"]},
        "qrels": {"query-id": [1, 2], "corpus-id": ["d1", "d2"], "score": [1, 2]},
    },
    "sts": {"test": {"sentence1": ["a x", "a y", "b z"], "sentence2": ["a", "b", "b"], "score": [0.9, 0.2, 0.9]}},
    "pair_classification": {"test": {"sentence1": ["a x", "a y", "b z"], "sentence2": ["a", "b", "b"], "label": [1, 0, 1]}},
    "classification": {"train": {"text": EASY, "label": LETTERS}, "test": {"text": EASY[:6], "label": LETTERS[:6]}},
    "clustering": {"test": {"text": EASY, "label": LETTERS}},
}


def write(folder: Path, tables: Tables) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def changed(kind: str, table: str, **columns: Sequence[Any] | None) -> Tables:
    """A layout with other columns; None takes one away."""
    merged = LAYOUTS[kind][table] | columns
    return LAYOUTS[kind] | {table: {name: values for name, values in merged.items() if values is not None}}


def own(kind: Any, folder: Path) -> OwnData:
    (task,) = own_tasks({"mine": OwnTask(type=kind, path=str(folder))}, ObjectStore(str(folder.parent)))
    return task


class FirstLetter:
    """Sees of a text only its first letter."""

    def __init__(self) -> None:
        from mteb.models import ModelMeta

        self.mteb_model_meta = ModelMeta.create_empty()

    def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
        return np.eye(26, dtype=np.float32)[[ord(text[0]) - ord("a") for batch in inputs for text in batch["text"]]]

    def similarity(self, one: Any, other: Any) -> Any:
        return one @ other.T

    def similarity_pairwise(self, one: Any, other: Any) -> Any:
        return (one * other).sum(axis=1)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_each_layout_is_scored(kind: str, tmp_path: Path) -> None:
    import mteb

    task = own(kind, write(tmp_path / "mine", LAYOUTS[kind]))
    opened = task.open(ObjectStore(str(tmp_path)))
    found = mteb.evaluate(FirstLetter(), opened, cache=None, show_progress_bar=False, co2_tracker=False).task_results[0]
    assert found.task_name == task.name == "mine"
    assert opened.metadata.type == task.type
    assert found.get_score() == pytest.approx(1.0)


@pytest.mark.parametrize(("kind", "table"), [(kind, table) for kind, tables in LAYOUTS.items() for table in tables])
def test_a_missing_file_is_named_before_anything_starts(kind: str, table: str, tmp_path: Path) -> None:
    left = {name: columns for name, columns in LAYOUTS[kind].items() if name != table}
    folder = write(tmp_path / "mine", left or {"other": {"text": ["a"]}})
    with pytest.raises(EvaluationError, match=rf"mine holds no {table}"):
        own(kind, folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nowhere: there is no such file or folder"):
        own("sts", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("kind", "tables", "message"),
    [
        ("sts", changed("sts", "test", score=None, scores=[1.0, 2.0, 3.0]), "no column 'score'; did you mean 'scores'"),
        ("sts", changed("sts", "test", score=["1", "2", "3"]), "'score' of test holds string, not numbers"),
        ("sts", changed("sts", "test", sentence2=["a", " ", "b"]), "'sentence2' of test is empty in row 1"),
        ("sts", changed("sts", "test", sentence1=["a", "b", None]), "nothing in column 'sentence1' of row 2"),
        ("sts", changed("sts", "test", sentence1=[1, 2, 3]), "'sentence1' of test holds int64, not text"),
        ("pair_classification", changed("pair_classification", "test", label=[0, 1, 2]), "holds 2; a pair is 1"),
        ("clustering", changed("clustering", "test", label=["a"] * 20), "all 20 rows of test have the same label"),
        ("classification", changed("classification", "train", label=["a"] * 20), "no row of train has the label b"),
        ("retrieval", changed("retrieval", "corpus", text=None, texts=["a", "b"]), "no column 'text'; did you mean 'texts'"),
        ("retrieval", changed("retrieval", "corpus", _id=["d1", "d1"]), "2 rows and only 1 distinct ids"),
        ("retrieval", changed("retrieval", "qrels", **{"corpus-id": ["d1", "d7"]}), "query '2' is answered by 'd7'"),
        ("retrieval", changed("retrieval", "qrels", **{"query-id": [8, 9]}), "no query of queries is judged in qrels"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(kind: str, tables: Tables, message: str, tmp_path: Path) -> None:
    task = own(kind, write(tmp_path / "mine", tables))
    with pytest.raises(EvaluationError, match=message):
        task.open(ObjectStore(str(tmp_path)))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", LAYOUTS["sts"])
    (folder / "test.parquet").write_bytes(b"no Parquet")
    with pytest.raises(EvaluationError, match=r"test\.parquet is not a readable Parquet file"):
        own("sts", folder).open(ObjectStore(str(tmp_path)))


def test_identity_is_that_of_the_data_wherever_it_lies(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, LAYOUTS["sts"]) for name in ("first", "second"))
    write(second, {"notes": {"text": ["not part of the task"]}})
    assert own("sts", first).identity == own("sts", second).identity
    write(second, changed("sts", "test", score=[0.1, 0.2, 0.3]))
    assert own("sts", first).identity != own("sts", second).identity


def test_a_table_may_be_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = pa.table(LAYOUTS["sts"]["test"])
    for number, start in enumerate((0, 2)):
        pq.write_table(rows.slice(start, 2), folder / f"test-0000{number}-of-00002.parquet")
    opened = own("sts", folder).open(ObjectStore(str(tmp_path)))
    assert opened.dataset["test"]["sentence1"] == LAYOUTS["sts"]["test"]["sentence1"]


def test_files_that_the_datasets_library_wrote(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"]), "source": Value("string")})
    rows = Dataset.from_dict({"text": EASY, "label": [0, 1] * 10, "source": [""] * 20}, features)
    (tmp_path / "mine").mkdir()
    for split in ("train", "test"):
        rows.to_parquet(tmp_path / f"mine/{split}.parquet")
    opened = own("classification", tmp_path / "mine").open(ObjectStore(str(tmp_path)))
    assert opened.dataset["train"]["label"] == [0, 1] * 10


def test_columns_without_any_text_are_empty_texts(tmp_path: Path) -> None:
    tables = changed("retrieval", "corpus", title=[None, None])
    opened = own("retrieval", write(tmp_path / "mine", tables)).open(ObjectStore(str(tmp_path)))
    assert opened.dataset["default"]["test"]["corpus"]["title"] == ["", ""]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("qrels", {"score": [None, None]}, "qrels has 2 rows without 'score'"),
        ("qrels", {"score": ["high", "low"]}, "column 'score' of qrels holds string, not int32"),
        ("corpus", {"text": [{"a": 1}, {"a": 2}]}, "column 'text' of corpus holds struct.*, not large_string"),
    ],
)
def test_columns_of_other_types_are_named(table: str, columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    task = own("retrieval", write(tmp_path / "mine", changed("retrieval", table, **columns)))
    with pytest.raises(EvaluationError, match=message):
        task.open(ObjectStore(str(tmp_path)))


def test_a_document_that_is_ranked_must_be_there(tmp_path: Path) -> None:
    ranked: dict[str, Sequence[Any]] = {"query-id": [1], "corpus-ids": [["d1", "d7"]]}
    task = own("retrieval", write(tmp_path / "mine", LAYOUTS["retrieval"] | {"top_ranked": ranked}))
    with pytest.raises(EvaluationError, match="top_ranked ranks 'd7' for query '1', which is no document"):
        task.open(ObjectStore(str(tmp_path)))


def shards(folder: Path, first: pa.Table, second: pa.Table) -> Path:
    folder.mkdir()
    for number, table in enumerate((first, second)):
        pq.write_table(table, folder / f"test-0000{number}-of-00002.parquet")
    return folder


def test_files_of_one_table_may_differ_in_how_wide_their_types_are(tmp_path: Path) -> None:
    first = pa.table(LAYOUTS["sts"]["test"])
    wide = first.set_column(0, "sentence1", first.column("sentence1").cast(pa.large_string()))
    opened = own("sts", shards(tmp_path / "mine", first, wide)).open(ObjectStore(str(tmp_path)))
    assert len(opened.dataset["test"]) == 6


def test_files_that_are_no_table_together_are_named(tmp_path: Path) -> None:
    first = pa.table(LAYOUTS["sts"]["test"])
    store = ObjectStore(str(tmp_path))
    with pytest.raises(EvaluationError, match=r"00001-of-00002\.parquet and .* column 'score' is in one only"):
        own("sts", shards(tmp_path / "less", first, first.drop_columns("score"))).open(store)
    with pytest.raises(EvaluationError, match=r"files of test are one table, but .*score has incompatible types"):
        own("sts", shards(tmp_path / "other", first, first.set_column(2, "score", pa.array(["1", "2", "3"])))).open(store)


def test_a_table_that_is_there_twice_or_in_part_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", LAYOUTS["sts"])
    write(folder / "data", {"test-00000-of-00001": LAYOUTS["sts"]["test"]})
    with pytest.raises(EvaluationError, match=r"data/test-00000-of-00001\.parquet and .*/test\.parquet are both the table test"):
        own("sts", folder)
    part = write(tmp_path / "part", {"test-00000-of-00002": LAYOUTS["sts"]["test"]})
    with pytest.raises(EvaluationError, match="1 of 2 files of test are there"):
        own("sts", part)


def test_an_object_is_known_by_its_etag_and_not_downloaded() -> None:
    def identity(etag: str) -> str:
        return TaskFiles("s3://b/mine", {"test": (SourceFile("s3://b/mine/test.parquet", 7, etag=etag),)}).digest(["test"])

    assert identity("one") == identity("one") != identity("two")


def check(kind: Any, folder: Path) -> None:
    check_own(OwnTask(type=kind, path=str(folder)), TaskFiles.at(str(folder), ObjectStore(str(folder.parent))))


@pytest.mark.parametrize("kind", LAYOUTS)
def test_sound_columns_pass_the_check_before_the_start(tmp_path: Path, kind: str) -> None:
    check(kind, write(tmp_path / "mine", LAYOUTS[kind]))


def test_a_missing_column_is_told_before_the_start(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", changed("sts", "test", sentence2=None, sentence_2=["a", "b", "b"]))
    with pytest.raises(EvaluationError, match=r"mine: test has no column 'sentence2'; did you mean 'sentence_2'\?"):
        check("sts", folder)


def test_a_damaged_table_is_told_before_the_start(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", LAYOUTS["sts"])
    (folder / "test.parquet").write_bytes(b"no Parquet")
    with pytest.raises(EvaluationError, match="is not a readable Parquet file"):
        check("sts", folder)
