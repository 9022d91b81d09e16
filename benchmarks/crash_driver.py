"""The driver of ``harvest_crash.py``: harvests recipes one after the other, with workers that stop at chosen points.

`python crash_driver.py FOLDER` joins the cluster of the environment, reads recipe files' names from standard input, harvests each
and answers with a line of JSON. Its workers look into FOLDER/plan.json each time they pass a point of :data:`POINTS`. When it names
that point, the pass of the right number leaves a note with its process id and waits until somebody has killed what is to be
killed. So the product has no hooks: the points are wrapped around its functions in the processes of this driver alone.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINTS = (
    "answer before it is kept",
    "micro-part before it is written",
    "micro-part after it is written",
    "data before they are written",
    "data after they are written",
    "commit after it is made",
    "micro-part before it is deleted",
    "micro-part after it is deleted",
)
# Of paid work in memory only, in place of the 20 s and 5 s of a real harvest: parts here take two seconds.
UNWRITTEN_S, TICK_S = 0.25, 0.1
# How long money under way is waited for before its holder counts as dead, in place of three minutes: no request takes as long here.
SETTLED_WITHIN_S = 6.0


def main(folder: Path) -> None:
    import ray

    from mtd_ray import job

    answers, sys.stdout = sys.stdout, sys.stderr
    ray.init(
        address="auto",
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"worker_process_setup_hook": _with_points(str(folder), POINTS, UNWRITTEN_S, TICK_S, SETTLED_WITHIN_S)},
    )
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_harvest(line.strip(), job)) + "\n")
        answers.flush()


def _harvest(recipe_file: str, job: Any) -> dict[str, Any]:
    from mtd_ray.config import load_recipe
    from mtd_ray.corpus import build_corpus
    from mtd_ray.errors import MtdError
    from mtd_ray.harvest import harvest
    from mtd_ray.objects import ObjectStore

    recipe = load_recipe(recipe_file, [])
    store = ObjectStore.open(recipe.storage)
    try:
        receipts = harvest(store, recipe, build_corpus(store, recipe))
    except MtdError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"receipts": [str(receipt) for receipt in receipts.values()]}


def _with_points(folder: str, points: tuple[str, ...], unwritten_s: float, tick_s: float, settled_s: float) -> Any:
    """The function Ray calls in every worker process before anything else. What it calls goes along: no worker knows this file."""

    def wrap_points() -> None:
        from mtd_ray.harvest import budget, worker
        from mtd_ray.harvest.attempt import Attempt
        from mtd_ray.objects import ObjectStore

        passes = functools.partial(_pass, Path(folder))
        _wrap(Attempt, "add", "", passes, before=points[0], after=None)
        _wrap(ObjectStore, "put", "/micro/", passes, before=points[1], after=points[2])
        _wrap(ObjectStore, "put", "/data/", passes, before=points[3], after=points[4])
        _wrap(ObjectStore, "create", "/commit/", passes, before=None, after=points[5])
        _wrap(ObjectStore, "delete", "/micro/", passes, before=points[6], after=points[7])
        worker._UNWRITTEN_S, worker._TICK_S, budget._SETTLED_WITHIN_S = unwritten_s, tick_s, settled_s

    return wrap_points


def _wrap(
    owner: Any, method: str, part_of_key: str, passes: Callable[[str], None], *, before: str | None, after: str | None
) -> None:
    """Let the calls of a method that are meant pass a point before, and one after."""
    inner = getattr(owner, method)

    @functools.wraps(inner)
    def wrapped(self: Any, key: Any, *rest: Any) -> Any:
        meant = not part_of_key or part_of_key in key
        if meant and before:
            passes(before)
        result = inner(self, key, *rest)
        if meant and after:
            passes(after)
        return result

    setattr(owner, method, wrapped)


def _pass(folder: Path, point: str) -> None:
    """Stop here until told to go on, when the plan is to stop at this point's so many-th pass."""
    wanted = _plan(folder)
    on_node = wanted.get("node") in (None, os.environ.get("CRASH_NODE"))
    if wanted.get("point") != point or not on_node:
        return
    notes = folder / wanted["run"]
    for number in range(wanted["pass"] + 1):
        try:
            (notes / f"pass-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        if number == wanted["pass"]:
            (notes / "writing").write_text(str(os.getpid()))
            (notes / "writing").rename(notes / "reached")
            while not (notes / "go").exists():
                time.sleep(0.01)
        return


def _plan(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "plan.json").read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
