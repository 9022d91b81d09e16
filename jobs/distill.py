"""Run a whole recipe: corpus, harvest, distil, export, evaluate, report.

Run it again to continue after an interruption, to measure what the recipe's evaluation newly asks for, or to see a finished run's
table. It fails when the student does not reach what the recipe requires.
"""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray import job, layout
from mtd_ray.evaluate.gates import RequirementError
from mtd_ray.report import format_table
from mtd_ray.run import run_recipe


def main(arguments: Sequence[str]) -> None:
    given = job.recipe_arguments(__doc__ or "").parse_args(arguments)
    recipe, store = job.prepare(given.recipe, given.overrides)
    job.connect()
    job.warn_of_scarce_resources(recipe)
    try:
        outcome = run_recipe(store, recipe)
    except RequirementError as error:
        print(format_table(error.results))
        raise
    if outcome.already_finished:
        print(f"run {outcome.run} is already finished; nothing was done")
    print(format_table(outcome.results))
    print(f"student  {store.url}/{layout.run_student(outcome.run)}")
    print(f"report   {store.url}/{layout.run_report(outcome.run)}/index.html")


if __name__ == "__main__":
    job.run(main)
