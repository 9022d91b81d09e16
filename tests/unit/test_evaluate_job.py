"""jobs/evaluate.py: which of its two uses is meant, and what is said about a command that is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import evaluate
from mtd_ray.errors import MtdError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recipe.yaml", "--task", "STSBenchmark"], "a recipe names its own tasks"),
        (["one"], "two models or more"),
        (["one", "two"], "--task or --benchmark"),
        ([], "RECIPE"),
    ],
)
def test_a_command_without_sense_says_what_is_missing(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_missing_model_is_told_before_a_cluster_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtd_ray.evaluate.tasks.named_tasks", lambda *given: ())
    with pytest.raises(MtdError, match=r"model folder .* does not exist"):
        evaluate.main([str(tmp_path / "a"), str(tmp_path / "b"), "--task", "STSBenchmark", "--storage", str(tmp_path / "kept")])


def test_folders_that_other_machines_may_not_have_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [{"Alive": True, "NodeManagerHostname": name} for name in ("one", "two", "two")]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "unused")
    monkeypatch.setattr("mtd_ray.evaluate.tasks.named_tasks", lambda *given: ())
    monkeypatch.setattr("mtd_ray.evaluate.statistics.compare.candidates", lambda *given, **more: ())
    monkeypatch.setattr("mtd_ray.evaluate.statistics.compare.compare", lambda *given: ())
    monkeypatch.setattr(evaluate.job, "connect", lambda: None)
    (tmp_path / "model").mkdir()
    arguments = [str(tmp_path / "model"), "some/hub-name", "--task", "STSBenchmark", "--storage"]
    evaluate.main([*arguments, "s3://bucket/kept"])
    (warning,) = caplog.messages
    assert warning.startswith(f"the cluster has 2 machines, and these are folders: {tmp_path}/model. ")
    evaluate.main([*arguments, str(tmp_path)])
    assert f"these are folders: {tmp_path}/model, {tmp_path}. " in caplog.messages[1]
    nodes.pop(0)
    evaluate.main([*arguments, str(tmp_path)])
    assert len(caplog.messages) == 2
