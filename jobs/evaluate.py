"""Evaluate a run's student, its untrained twin and its teachers on the same tasks, and write the report."""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray import job, layout
from mtd_ray.corpus import load_manifest
from mtd_ray.evaluate import evaluate, format_table
from mtd_ray.run import report


def main(arguments: Sequence[str]) -> None:
    given = job.recipe_arguments(__doc__ or "").parse_args(arguments)
    recipe, store = job.prepare(given.recipe, given.overrides)
    job.connect()
    results = evaluate(store, recipe, load_manifest(store, recipe))
    report(store, recipe, results)
    print(format_table(results))
    print(f"report   {store.url}/{layout.run_report(recipe.run_name)}")


if __name__ == "__main__":
    job.run(main)
