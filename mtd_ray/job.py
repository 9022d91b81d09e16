"""What every script in ``jobs/`` shares: its arguments, its connection to Ray, and how it ends.

A job prints to stdout what a person wants to keep, logs its progress to stderr, and ends with 0, with 2 for a wrong recipe, with 1
for any other fault that a person must act on (the message alone), and with a stack trace only for a bug.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ray
from ray.exceptions import AuthenticationError

from mtd_ray.config import Recipe, check_secrets, load_recipe
from mtd_ray.config.rules import unstated_licenses
from mtd_ray.errors import MtdError, RecipeError
from mtd_ray.objects import ObjectStore

_LOG = logging.getLogger("mtd_ray")


def recipe_arguments(description: str) -> argparse.ArgumentParser:
    """A parser that takes ``RECIPE [key.path=value …]``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", help="recipe file, for example recipes/quickstart.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="replaces one value of the recipe")
    return parser


def prepare(recipe_file: str, overrides: Sequence[str]) -> tuple[Recipe, ObjectStore]:
    """Check everything that can be checked before anything starts: recipe, secrets, student, storage.

    Raises:
        RecipeError: the recipe, a secret reference or the student is wrong; every line names the file.
        StorageError: the storage does not answer.
    """
    recipe = load_recipe(recipe_file, overrides)
    # Loads PyTorch, which the light processes that import this module do without.
    from mtd_ray.student import check_student

    try:
        check_secrets(recipe)
        check_student(recipe)
    except RecipeError as error:
        raise RecipeError("\n".join(f"{recipe_file}: {line}" for line in str(error).splitlines())) from None
    store = ObjectStore.open(recipe.storage)
    store.check()
    _warn_of_unstated_terms(recipe)
    return recipe, store


def _warn_of_unstated_terms(recipe: Recipe) -> None:
    if keys := unstated_licenses(recipe):
        _LOG.warning(
            "%s: not stated, so nobody checks whether the student may be used commercially; a teacher's or backbone's terms follow "
            "the student, find out and write them there",
            ", ".join(keys),
        )


def connect() -> None:
    """Join the running Ray cluster.

    Raises:
        MtdError: there is none, or it does not let this process in.
    """
    # Workers' output stays in Ray's logs and dashboard: what a person must know reaches the driver as receipts and errors.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(address="auto", logging_level=logging.WARNING, log_to_driver=False)
    except (ConnectionError, AuthenticationError, RuntimeError) as error:
        if _lacks_token(error):
            raise MtdError(
                "the Ray cluster here asks for a token that this process does not have: export RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH with the cluster's token"
            ) from None
        if not isinstance(error, ConnectionError):
            raise
        raise MtdError(
            "no Ray cluster is running here: start one with `ray start --head`, or send this job to one with `ray job submit`"
        ) from None


def _lacks_token(error: BaseException) -> bool:
    """Ray wraps what goes wrong while it opens its node in a RuntimeError that quotes it, and that in a ConnectionError."""
    name = AuthenticationError.__name__
    return isinstance(error, AuthenticationError) or name in str(error) or name in str(error.__cause__)


def warn_of_scarce_resources(recipe: Recipe) -> None:
    """Log what training asks for and the connected cluster does not have now: the job waits in silence until the cluster grows."""
    present = ray.cluster_resources()
    train = recipe.train
    for name, each in (("CPU", train.num_cpus), ("GPU", train.num_gpus)):
        if (wanted := train.workers * each) > present.get(name, 0):
            _LOG.warning(
                "training asks for %g %ss (train.workers × train.num_%ss), the cluster has %g now: it will wait until the cluster "
                "grows",
                wanted, name, name.lower(), present.get(name, 0),
            )  # fmt: skip


@contextmanager
def step(title: str) -> Iterator[None]:
    """Log the beginning of a step, and its duration at its end."""
    started = time.monotonic()
    _LOG.info("── %s", title)
    yield
    _LOG.info("   %s: %.1f s", title, time.monotonic() - started)


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Call a job's ``main`` with the command line's arguments and end the process with the right code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    _LOG.setLevel(logging.INFO)
    try:
        main(sys.argv[1:])
    except MtdError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("stopped: what is committed stays; run the same command again to continue\n")
        sys.exit(130)
