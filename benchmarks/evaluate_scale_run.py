"""One evaluation of ``evaluate_scale.py``: four models on three tasks, as a driver process of its own that can be killed.

    python benchmarks/evaluate_scale_run.py DATA MODEL STORAGE

It prints one JSON object: ``seconds`` from the process's start to the scores, without joining Ray, and the ``scores``.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import psutil

TOKENS = (16, 20, 24, 28)


def main(data: str, model: str, storage: str) -> None:
    from mtd_ray import job
    from mtd_ray.config.evaluate import OwnTask
    from mtd_ray.evaluate.models import ModelFolder
    from mtd_ray.evaluate.runner import measure_all
    from mtd_ray.evaluate.tasks import named_tasks, own_tasks
    from mtd_ray.objects import ObjectStore

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("mtd_ray").setLevel(logging.INFO)
    # One set of weights cut at different lengths: four models that differ in content, and hardly in what they cost.
    models = [ModelFolder(model, f"cut-at-{tokens}", max_tokens=tokens) for tokens in TOKENS]
    store = ObjectStore(storage)
    # The task that takes longest first: what runs last decides how long one of two nodes waits for the other.
    tasks = named_tasks(("SciFact", "STSBenchmark"), (), data)
    own = own_tasks({"TRECQC": OwnTask(type="classification", path=f"{data}/TRECQC")}, store)
    before = time.time()
    job.connect()
    joining = time.time() - before
    scores = measure_all(store, models, (*tasks, *own))
    seconds = time.time() - psutil.Process().create_time() - joining
    told = {f"{label} {task}": round(100 * score.main, 2) for (label, task), views in scores.items() for score in views.values()}
    print(json.dumps({"seconds": seconds, "scores": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
