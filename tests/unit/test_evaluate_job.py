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
