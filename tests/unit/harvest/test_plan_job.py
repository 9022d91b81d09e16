"""`jobs/harvest.py RECIPE --plan` on a machine without a cluster and without keys."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from mtd_ray.objects import ObjectStore

JOB = Path(__file__).resolve().parents[3] / "jobs" / "harvest.py"
RECIPE = """
name: planned
storage: {store}
corpus: {{source: {{format: jsonl, path: {texts}}}}}
teachers:
  paid: {{provider: cohere, model: embed-v4.0, dimensions: 256, api_key: env:KEY_THAT_IS_NOT_SET}}
  own: {{provider: local, model: not/there, dimensions: 8}}
harvest: {{budget_usd: 0.001}}
student: {{model: not/there, heads: [8]}}
stages:
  - {{name: all, heads: {{8: {{similarity: 200}}}}, lr: 1e-4, steps: 5, batch_size: 8}}
evaluate: {{heldout: false}}
"""


def test_the_plan_is_printed(
    tmp_path: Path, local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**options: Any) -> None:
        raise AssertionError("a plan needs no cluster")

    monkeypatch.setattr("ray.init", refuse)
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"text number {row:05d} {'x' * 40}"}) + "\n" for row in range(3_000)))
    recipe = tmp_path / "planned.yaml"
    recipe.write_text(RECIPE.format(store=local_store.url, texts=texts))
    main = runpy.run_path(str(JOB))["main"]
    main([str(recipe), "--plan", "--teacher", "paid"])
    printed = capsys.readouterr().out
    assert "3,000  3,000" in printed
    assert "2 min  inputs per minute" in printed
    assert "not enough: $0.00" in printed
    assert "own" not in printed
    main([str(recipe), "--plan"])
    assert "compute" in capsys.readouterr().out
    assert not list(local_store.list("targets"))


@pytest.mark.parametrize(
    "flags", [["--plan", "--retry-failed"], ["--with-text"], ["--plan", "--sample-rows", "3"], ["--export", "parquet"]]
)
def test_flags_that_would_be_ignored_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runpy.run_path(str(JOB))["main"](["recipe.yaml", *flags])
    assert next(flag for flag in reversed(flags) if flag.startswith("--")) in capsys.readouterr().err
