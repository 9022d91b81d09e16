"""mteb's tasks and benchmarks by name, with data from a folder."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks import NamedTask, catalogue, named_tasks
from mtd_ray.objects import ObjectStore

STS = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, 4.0]}
DOCUMENTS = {"_id": ["d1", "d2"], "title": ["", "t"], "text": ["one", "two"]}
QUERIES = {"_id": ["q1", "q2"], "text": ["first?", "second?"]}
JUDGED = {"query-id": ["q1"], "corpus-id": ["d2"], "score": [1]}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTD_RAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def write(data: Path, name: str, columns: dict[str, Any]) -> None:
    path = data / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def only(name: str, data: Path) -> NamedTask:
    (task,) = named_tasks([name], [], str(data))
    sent: NamedTask = pickle.loads(pickle.dumps(task))
    return sent


def opened(name: str, data: Path) -> Any:
    return only(name, data).open(ObjectStore(str(data)))


def test_a_folder_fills_the_class_that_mteb_has(tmp_path: Path) -> None:
    import mteb

    write(tmp_path, "STSBenchmark/test", STS)
    task = opened("STSBenchmark", tmp_path)
    assert type(task) is type(mteb.get_task("STSBenchmark"))
    assert task.data_loaded
    assert task.dataset["test"]["score"] == [1.0, 4.0]


def test_splits_that_are_not_scored_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "STSBenchmark/test", STS)
    before = only("STSBenchmark", tmp_path).identity
    (tmp_path / "STSBenchmark/train.parquet").write_bytes(b"no Parquet")
    assert list(opened("STSBenchmark", tmp_path).dataset) == ["test"]
    assert only("STSBenchmark", tmp_path).identity == before


@pytest.mark.parametrize("spelling", ["{0}_test", "{0}", "{0}/test-00000-of-00001", "{0}/{0}-00000-of-00001"])
def test_retrieval_in_each_spelling(spelling: str, tmp_path: Path) -> None:
    for name, columns in (("corpus", DOCUMENTS), ("queries", QUERIES), ("qrels", JUDGED)):
        write(tmp_path, f"SciFact/{spelling.format(name)}", columns)
    split = opened("SciFact", tmp_path).dataset["default"]["test"]
    assert split["corpus"]["text"] == ["one", "two"]
    assert split["queries"]["id"] == ["q1"]
    assert split["relevant_docs"] == {"q1": {"d2": 1}}
    assert split["top_ranked"] is None


def test_reranking_reads_what_is_to_be_ranked(tmp_path: Path) -> None:
    ranked = {"query-id": ["q1"], "corpus-ids": [["d1", "d2"]]}
    for name, columns in (("corpus", DOCUMENTS), ("queries", QUERIES), ("qrels", JUDGED), ("top_ranked", ranked)):
        write(tmp_path, f"AskUbuntuDupQuestions/{name}", columns)
    split = opened("AskUbuntuDupQuestions", tmp_path).dataset["default"]["test"]
    assert split["top_ranked"] == {"q1": ["d1", "d2"]}


def test_languages_have_a_folder_each(tmp_path: Path) -> None:
    (task,) = [task for task in named_tasks([], ["MTEB(eng, v2)"], None) if task.name == "STS17"]
    assert task.known.subsets == ("en-en",)
    write(tmp_path, "STS17/en-en/test", STS)
    with pytest.raises(EvaluationError, match="holds no ko-ko/test"):
        only("STS17", tmp_path)


def test_a_task_that_rearranges_its_data_is_given_it_as_the_hub_has_it(tmp_path: Path) -> None:
    texts = [f"{label} {number}" for number in range(5) for label in "abc"]
    write(tmp_path, "TwentyNewsgroupsClustering.v2/test", {"sentences": [texts], "labels": [list("abc") * 5]})
    found = opened("TwentyNewsgroupsClustering.v2", tmp_path).dataset["test"]
    assert sorted(found["sentences"]) == sorted(texts)
    write(tmp_path, "TwentyNewsgroupsClustering.v2/test", {"text": texts})
    with pytest.raises(EvaluationError, match=r"cannot use these files .*mteb/twentynewsgroups-clustering"):
        opened("TwentyNewsgroupsClustering.v2", tmp_path)


def test_the_mean_of_several_tasks_opens_them_all(tmp_path: Path) -> None:
    task = next(task for task in named_tasks([], ["MTEB(eng, v1)"], None) if task.parts)
    assert (task.name, len(task.parts)) == ("CQADupstackRetrieval", 12)
    for part in task.parts:
        for name, columns in (("corpus", DOCUMENTS), ("queries", QUERIES), ("qrels", JUDGED)):
            write(tmp_path, f"{part.name}/{name}", columns)
    parts = opened("CQADupstackRetrieval", tmp_path).tasks
    assert [part.metadata.name for part in parts] == [part.name for part in task.parts]
    assert all(part.data_loaded for part in parts)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path, "STSBenchmark/test", {name: STS[name] for name in ("sentence1", "score")})
    with pytest.raises(EvaluationError, match=r"no column \['sentence2'\]; it has sentence1, score"):
        opened("STSBenchmark", tmp_path)


@pytest.mark.parametrize(
    ("names", "benchmarks", "message"),
    [
        (["SciFactt"], [], "no task 'SciFactt'; did you mean 'SciFact'"),
        (["scifact"], [], "did you mean 'SciFact'"),
        ([], ["MTEB(eng, v9)"], r"no benchmark 'MTEB\(eng, v9\)'; did you mean 'MTEB\(eng, v"),
        (["Caltech101"], [], "'Caltech101'.* is about image: only tasks of text"),
        (["STS17"], ["MTEB(eng, v2)"], r"'STS17' comes by its name with ko-ko, .* and by MTEB\(eng, v2\) with en-en \(test\)"),
    ],
)
def test_names_that_cannot_be_measured_are_refused(names: list[str], benchmarks: list[str], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        named_tasks(names, benchmarks, None)


def test_a_task_named_twice_is_one_task(tmp_path: Path) -> None:
    names = [task.name for task in named_tasks(["SciFact", "STSBenchmark", "SciFact"], ["MTEB(eng, v2)"], str(tmp_path))]
    assert names[:2] == ["SciFact", "STSBenchmark"]
    assert len(names) == len(set(names)) == 42


def test_the_folder_of_all_data_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"there is no folder .*nowhere"):
        named_tasks(["SciFact"], [], str(tmp_path / "nowhere"))


def test_what_mteb_knows_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = catalogue.catalogue()
    small = catalogue.Catalogue({name: full.tasks[name] for name in ("SciFact", "CQADupstackRetrieval")}, {"two": ()})
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    monkeypatch.setattr("mtd_ray.evaluate.tasks.listing.list_tasks", lambda: small.tasks)
    monkeypatch.setattr("mtd_ray.evaluate.tasks.listing.list_benchmarks", lambda: small.benchmarks)
    assert catalogue.catalogue.__wrapped__() == small
    monkeypatch.setattr("mtd_ray.evaluate.tasks.listing.list_tasks", lambda: pytest.fail("listed again"))
    assert catalogue.catalogue.__wrapped__() == small
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(json.dumps({"tasks": {}}))
    monkeypatch.setattr("mtd_ray.evaluate.tasks.listing.list_tasks", lambda: small.tasks)
    assert catalogue.catalogue.__wrapped__() == small
