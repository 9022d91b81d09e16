"""Real tasks give a real model the scores that were published of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtd_ray.objects import ObjectStore

DATA, MODELS = os.environ.get("MTD_RAY_DATA"), os.environ.get("MTD_RAY_MODELS")
PUBLISHED = {"STSBenchmark": 82.03, "Banking77Classification": 80.04, "SciFact": 64.51}


@pytest.mark.timeout(3600)  # SciFact has five thousand documents
@pytest.mark.skipif(not (DATA and MODELS), reason="MTD_RAY_DATA and MTD_RAY_MODELS name the folders of the data and the models")
@pytest.mark.parametrize("name", PUBLISHED)
def test_minilm_has_its_published_score(name: str, tmp_path: Path) -> None:
    from mtd_ray.evaluate.measuring.measure import measure
    from mtd_ray.evaluate.models import Access, ModelFolder
    from mtd_ray.evaluate.tasks import named_tasks
    from mtd_ray.evaluate.views import View

    store = ObjectStore(str(tmp_path))
    (task,) = named_tasks([name], [], DATA, store)
    with ModelFolder(f"{MODELS}/all-MiniLM-L6-v2", "minilm").open(store, Access()) as encoder:
        (score,) = measure(encoder, task.open(store), [View(384)]).values()
    assert 100 * score.main == pytest.approx(PUBLISHED[name], abs=0.3)
