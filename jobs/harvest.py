"""Build a recipe's corpus and harvest its teachers' vectors; only what is missing is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mtd_ray import job
from mtd_ray.config import Recipe, load_recipe
from mtd_ray.corpus import build_corpus, load_manifest
from mtd_ray.harvest import harvest, require_teachers
from mtd_ray.harvest.cost import Forecast
from mtd_ray.harvest.forecast import forecast
from mtd_ray.harvest.verify import report, require_whole, verify
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.export import FORMATS, export_targets

_SAMPLE_ROWS = 8


def main(arguments: Sequence[str]) -> None:
    parser = job.recipe_arguments(__doc__ or "")
    parser.add_argument("--teacher", action="append", metavar="NAME", help="only this teacher; may be given several times")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--retry-failed", action="store_true", help="harvest, and ask texts that got no vector before once more")
    instead.add_argument("--plan", action="store_true", help="only say what the rest of the harvest will cost; asks no teacher")
    instead.add_argument(
        "--verify",
        action="store_true",
        help="read all that was harvested again; ends with 1 if anything is damaged, or a teacher cannot be asked",
    )
    instead.add_argument("--export", choices=FORMATS, help="write what was harvested as tables that other tools read")
    parser.add_argument(
        "--sample-rows",
        type=int,
        metavar="N",
        help=f"--verify: rows each teacher embeds again, at its price (default {_SAMPLE_ROWS})",
    )
    parser.add_argument("--to", metavar="URL", help="--export: s3://bucket/prefix or an absolute folder")
    parser.add_argument("--with-text", action="store_true", help="--export: with the texts themselves")
    given = parser.parse_intermixed_args(arguments)
    if (given.export is None) != (given.to is None):
        parser.error("--export and --to go together")
    if given.with_text and not given.export:
        parser.error("--with-text goes with --export")
    if given.sample_rows is not None and not given.verify:
        parser.error("--sample-rows goes with --verify")
    if given.plan:
        print(_plan(given.recipe, given.overrides, given.teacher))
        return
    if given.export:
        _export(given)
        return
    recipe, store = job.prepare(given.recipe, given.overrides)
    require_teachers(recipe, given.teacher or ())
    job.connect()
    if given.verify:
        _verify(store, recipe, given.teacher, _SAMPLE_ROWS if given.sample_rows is None else given.sample_rows)
        return
    manifest = build_corpus(store, recipe)
    for receipt in harvest(store, recipe, manifest, teachers=given.teacher, retry_failed=given.retry_failed).values():
        print(receipt)


def _export(given: argparse.Namespace) -> None:
    """Needs neither a cluster nor the teachers' keys."""
    recipe = load_recipe(given.recipe, given.overrides)
    require_teachers(recipe, given.teacher or ())
    store = ObjectStore.open(recipe.storage)
    to = ObjectStore(given.to, endpoint=recipe.storage.endpoint, region=recipe.storage.region)
    manifest = load_manifest(store, recipe)
    for exported in export_targets(store, recipe, manifest, to, given.export, teachers=given.teacher, with_text=given.with_text):
        print(exported)


def _verify(store: ObjectStore, recipe: Recipe, teachers: Sequence[str] | None, sample_rows: int) -> None:
    found = verify(store, recipe, load_manifest(store, recipe), teachers=teachers, sample_rows=sample_rows)
    print(report(found))
    require_whole(found)


def _plan(recipe_file: str, overrides: Sequence[str], teachers: Sequence[str] | None) -> Forecast:
    """Needs neither a cluster nor the teachers' keys."""
    recipe = load_recipe(recipe_file, overrides)
    require_teachers(recipe, teachers or ())
    store = ObjectStore.open(recipe.storage)
    return forecast(store, recipe, build_corpus(store, recipe), teachers=teachers)


if __name__ == "__main__":
    job.run(main)
