"""Comparing models: at which sizes, on which tasks, under which names, and what the table says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mtd_ray.errors import EvaluationError, MtdError, StorageError
from mtd_ray.evaluate.models import Access, Asked, ModelFolder
from mtd_ray.evaluate.models.elsewhere import PublishedModel
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.statistics.compare import Candidate, _names, candidates, compared
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.report.comparison import format_comparison
from tests.tiny_export import DEFAULT_HEAD, HEADS, tiny_export

A, B = (ModelFolder(f"/models/{name}", name) for name in ("a", "b"))


def score(seed: int, mean: float, spread: float = 0.05) -> TaskScore:
    noise = np.random.default_rng(seed).normal(0, spread, 200)
    items = mean + noise - noise.mean()
    return TaskScore(float(items.mean()), "query", tuple(items), (), (0,) * 200)


def scores(
    tasks: dict[str, tuple[float, float]], sizes: dict[str, tuple[int, ...]]
) -> dict[tuple[str, str], dict[View, TaskScore]]:
    return {
        (model, task): {View(size): score(2 * number + position, means[position]) for size in sizes[model]}
        for number, (task, means) in enumerate(tasks.items())
        for position, model in enumerate(("a", "b"))
    }


def test_default_sizes_come_first_then_those_that_both_have() -> None:
    known = scores({"one": (0.5, 0.6)}, {"a": (64, 256, 768), "b": (64, 256, 512)})
    found = compared(known, ["one"], Candidate(A, 256), Candidate(B, 512))
    assert [(sizes.first, sizes.second) for sizes in found.sizes] == [(256, 512), (256, 256), (64, 64)]
    known = scores({"one": (0.5, 0.6)}, {"a": (384,), "b": (384,)})
    plain = compared(known, ["one"], Candidate(A), Candidate(B))
    assert [(sizes.first, sizes.second) for sizes in plain.sizes] == [(384, 384)]
    assert plain.sizes[0].mean is None


def test_differences_are_the_second_s_less_the_first_s() -> None:
    tasks = {"better": (0.5, 0.6), "same": (0.5, 0.5), "worse": (0.5, 0.47)}
    (sizes,) = compared(scores(tasks, {"a": (8,), "b": (8,)}), list(tasks), Candidate(A), Candidate(B)).sizes
    better, same, worse = (task.difference for task in sizes.tasks)
    assert better.delta == pytest.approx(0.1, abs=0.02)
    assert same.p == 1
    assert worse.delta < 0
    assert [task.task for task in sizes.significant] == ["better", "worse"]
    assert sizes.mean is not None
    assert sizes.mean.difference.delta == pytest.approx(sizes.mean.second - sizes.mean.first)


def test_many_tasks_need_more_to_be_called_different() -> None:
    tasks = {f"t{number}": (0.5, 0.5 + 0.011 * (number == 0)) for number in range(20)}
    known = scores(tasks, {"a": (8,), "b": (8,)})
    alone = compared(known, ["t0"], Candidate(A), Candidate(B)).sizes[0]
    among = compared(known, list(tasks), Candidate(A), Candidate(B)).sizes[0]
    p = alone.tasks[0].difference.p
    assert p is not None
    assert 0.05 / 20 < p < 0.05  # what the seeds give; the point of the test
    assert len(alone.significant) == 1
    assert among.significant == ()


def test_table_has_scores_interval_and_chance() -> None:
    tasks = {"STSBenchmark": (0.5, 0.6), "Banking77Classification": (0.5, 0.5)}
    known = scores(tasks, {"a": (8, 16), "b": (8, 16)})
    known["a", "Banking77Classification"] = {View(size): TaskScore(0.5) for size in (8, 16)}
    text = format_comparison(compared(known, list(tasks), Candidate(A, 16), Candidate(B, 16)))
    lines = text.splitlines()
    assert lines[:2] == ["A: a", "B: b"]
    assert lines[3].split() == ["task", "A", "(16)", "B", "(16)", "difference", "95", "%", "interval", "p"]
    sts = lines[4].split()
    assert sts[0] == "STSBenchmark"
    assert sts[3].startswith("+")
    assert lines[4].endswith("< 0.001")
    assert lines[5].split()[-2:] == ["–", "–"]
    assert lines[6].startswith("mean of 2 tasks")
    assert "B is better on STSBenchmark: beyond chance" in text
    assert "A (8)" in text


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["/x/one", "/y/two"], ["one", "two"]),
        (["out/runs/a/student", "s3://b/runs/c/student/"], ["a", "c"]),
        (["/x/v1/student", "/y/v1/student"], ["x/v1", "y/v1"]),
        (["org/model", "other/model"], ["org/model", "other/model"]),
    ],
)
def test_models_are_called_by_what_tells_them_apart(places: list[str], names: list[str]) -> None:
    assert _names(places) == names


def test_a_folder_given_as_a_relative_path_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "student").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")
    assert _names(["./student", "org/model"]) == ["mine", "model"]


def test_a_model_given_twice_and_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is given twice"):
        candidates([str(tmp_path), f"{tmp_path}/../{tmp_path.name}"])
    with pytest.raises(MtdError, match="does not exist"):
        candidates([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(StorageError, match=r"modules\.json"):
        PublishedModel(str(tmp_path / "empty"), "empty").default_size()


def test_folders_and_published_students_are_found_with_their_default_size(tmp_path: Path) -> None:
    folder = tiny_export(tmp_path / "out" / "student", tmp_path / "bert")
    (local, _) = candidates([str(folder), str(shutil.copytree(folder, tmp_path / "copy"))])
    assert (local.model.name, local.size) == ("out", DEFAULT_HEAD)
    publish_folder(ObjectStore(str(tmp_path / "store")), folder, "runs/demo/student")
    for url in ("store/runs/demo", "store/runs/demo/student"):
        published = PublishedModel(str(tmp_path / url), "demo")
        assert published.default_size() == DEFAULT_HEAD
        store = ObjectStore(str(tmp_path / "other"))
        with published.open(store, Access()) as theirs, local.model.open(store, Access()) as ours:
            asked = Asked("t", "Retrieval", "query")
            assert theirs.sizes == HEADS
            for size in HEADS:
                np.testing.assert_array_equal(
                    theirs.encode(["read a file"], asked)[size], ours.encode(["read a file"], asked)[size]
                )


def test_a_published_model_without_heads_is_told(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "1_Pooling"}]))
    with pytest.raises(EvaluationError, match="names no head 2_Dense_SIZE"):
        PublishedModel(str(tmp_path / "model"), "m").default_size()
