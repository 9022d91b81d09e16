"""`jobs/harvest.py RECIPE --export` on a machine without a cluster and without keys."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mtd_ray.config import load_recipe, teacher_fingerprint
from mtd_ray.corpus import build_corpus, read_shard
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part, write_teacher_description

JOB = Path(__file__).resolve().parents[3] / "jobs" / "harvest.py"
RECIPE = """
name: exported
storage: {store}
corpus: {{source: {{format: jsonl, path: {texts}}}}}
teachers:
  paid: {{provider: cohere, model: embed-v4.0, dimensions: 256, api_key: env:KEY_THAT_IS_NOT_SET}}
student: {{model: not/there, heads: [8]}}
stages:
  - {{name: all, heads: {{8: {{similarity: 200}}}}, lr: 1e-4, steps: 5, batch_size: 8}}
evaluate: {{heldout: false}}
"""


@pytest.fixture
def recipe_file(tmp_path: Path, local_store: ObjectStore) -> Path:
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"text {row}"}) + "\n" for row in range(30)))
    recipe = tmp_path / "exported.yaml"
    recipe.write_text(RECIPE.format(store=local_store.url, texts=texts))
    return recipe


def test_the_tables_are_written_and_named(
    recipe_file: Path, local_store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(JOB))["main"]
    with pytest.raises(CorpusError, match="build it first"):
        main([str(recipe_file), "--export", "parquet", "--to", str(tmp_path / "out")])
    recipe = load_recipe(recipe_file)
    manifest = build_corpus(local_store, recipe)
    teacher = teacher_fingerprint(recipe.teachers["paid"])
    write_teacher_description(local_store, teacher, {}, 512)
    (part,) = parts_of(manifest, 512)
    ids = read_shard(local_store, part.shard)["id"].to_pylist()
    write_part(local_store, teacher, part, ids, np.ones((30, 256), np.float32), {}, tokens=1, requests=1, seconds=0.1)

    main([str(recipe_file), "--export", "parquet", "--to", str(tmp_path / "out"), "--with-text"])

    assert capsys.readouterr().out == f"paid: 30 rows in {tmp_path}/out/paid\n"
    assert pq.read_table(tmp_path / "out" / "paid")["text"].to_pylist() == [f"text {row}" for row in range(30)]


@pytest.mark.parametrize(
    "flags", [["--export", "parquet"], ["--to", "/x"], ["--plan", "--verify"], ["--export", "csv", "--to", "/x"]]
)
def test_flags_that_do_not_go_together_are_refused(recipe_file: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(JOB))["main"]([str(recipe_file), *flags])
