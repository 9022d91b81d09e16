"""Measure a run's student, its untrained twin and its teachers on the recipe's tasks and write the report; or compare models.

    jobs/evaluate.py RECIPE [key.path=value ...]
    jobs/evaluate.py A B [C ...] --task NAME [--task ...] [--benchmark NAME ...] [--data DIR]

Models are exported folders, hub names, or s3:// URLs of runs or of their students; each is compared with the first.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mtd_ray import job, layout
from mtd_ray.objects import ObjectStore
from mtd_ray.remote import hosts

_LOG = logging.getLogger("mtd_ray")


def main(arguments: Sequence[str]) -> None:
    parser = _parser()
    given = parser.parse_intermixed_args(arguments)
    recipe = given.what[0].endswith((".yaml", ".yml"))
    compares = given.task or given.benchmark or given.data or given.storage
    if recipe and compares:
        parser.error("a recipe names its own tasks: set evaluate.tasks, evaluate.benchmarks and evaluate.data")
    if recipe:
        _evaluate(given.what[0], given.what[1:])
        return
    if len(given.what) < 2:
        parser.error("give a recipe (a .yaml file), or two models or more to compare")
    if not given.task and not given.benchmark:
        parser.error("say on what to compare the models: --task or --benchmark")
    _compare(given)


def _parser() -> argparse.ArgumentParser:
    usage = "%(prog)s RECIPE [key.path=value ...]\n       %(prog)s A B [C ...] --task NAME [--benchmark NAME] [options]"
    parser = argparse.ArgumentParser(usage=usage, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", metavar="RECIPE | A B", help="a recipe file, or models")
    models = parser.add_argument_group("comparing models")
    models.add_argument("--task", action="append", default=[], metavar="NAME", help="a task of mteb; may be given several times")
    models.add_argument("--benchmark", action="append", default=[], metavar="NAME", help="a benchmark of mteb; likewise")
    models.add_argument("--data", metavar="DIR", help="a folder or s3:// prefix with the tasks' data, for sites without a hub")
    models.add_argument(
        "--storage",
        metavar="URL",
        help="where scores are kept, s3://bucket/prefix or a folder; by default in the user's cache folder. Several machines need s3://",
    )
    models.add_argument("--cpus", type=float, default=1.0, help="what measuring one model takes (default 1)")
    models.add_argument("--gpus", type=float, default=0.0, help="likewise (default 0)")
    return parser


def _evaluate(recipe_file: str, overrides: Sequence[str]) -> None:
    from mtd_ray.corpus import load_manifest
    from mtd_ray.evaluate.gates import RequirementError
    from mtd_ray.evaluate.tasks import check_tasks
    from mtd_ray.report import format_table
    from mtd_ray.run import evaluate_and_report

    recipe, store = job.prepare(recipe_file, overrides)
    check_tasks(store, recipe)
    job.connect()
    try:
        results = evaluate_and_report(store, recipe, load_manifest(store, recipe))
    except RequirementError as error:
        print(format_table(error.results))
        raise
    print(format_table(results))
    print(f"report   {store.url}/{layout.run_report(recipe.run_name)}/index.html")


def _compare(given: argparse.Namespace) -> None:
    from mtd_ray.encoder.cache import cache_folder
    from mtd_ray.evaluate.statistics.compare import candidates, compare
    from mtd_ray.evaluate.tasks import named_tasks
    from mtd_ray.report.comparison import format_comparison

    folder = Path(given.storage).expanduser().absolute() if given.storage else cache_folder() / "evaluations"
    store = ObjectStore(given.storage if (given.storage or "").startswith("s3://") else str(folder))
    tasks = named_tasks(given.task, given.benchmark, given.data, store)
    models = candidates(given.what, cpus=given.cpus, gpus=given.gpus)
    job.connect()
    _warn_of_folders(store.url, [*given.what, *([given.data] if given.data else [])])
    print("\n\n".join(map(format_comparison, compare(store, models, tasks))))


def _warn_of_folders(storage: str, places: Sequence[str]) -> None:
    """Log what only one machine may have, where the cluster has several. Only warned of: they may share a disk."""
    folders = [place for place in places if Path(place).expanduser().is_dir()]
    folders += [] if storage.startswith("s3://") else [storage]
    if folders and (count := hosts()) > 1:
        _LOG.warning(
            "the cluster has %d machines, and these are folders: %s. Unless all machines share them, models and data are missing "
            "on the others, and scores are kept where they were measured and not found again: use s3:// URLs (and --storage)",
            count,
            ", ".join(folders),
        )


if __name__ == "__main__":
    job.run(main)
