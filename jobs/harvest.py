"""Build a recipe's corpus and harvest its teachers' vectors; only what is missing is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray import job
from mtd_ray.corpus import build_corpus
from mtd_ray.harvest import harvest, require_teachers


def main(arguments: Sequence[str]) -> None:
    parser = job.recipe_arguments(__doc__ or "")
    parser.add_argument("--teacher", action="append", metavar="NAME", help="only this teacher; may be given several times")
    parser.add_argument("--retry-failed", action="store_true", help="ask texts that got no vector before once more")
    given = parser.parse_intermixed_args(arguments)
    recipe, store = job.prepare(given.recipe, given.overrides)
    require_teachers(recipe, given.teacher or ())
    job.connect()
    manifest = build_corpus(store, recipe)
    for receipt in harvest(store, recipe, manifest, teachers=given.teacher, retry_failed=given.retry_failed).values():
        print(receipt)


if __name__ == "__main__":
    job.run(main)
