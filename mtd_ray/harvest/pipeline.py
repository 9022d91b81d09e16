"""The harvest of all teachers on a Ray cluster.

All teachers are harvested side by side, because some wait for GPUs and some for a quota; the driver counts the receipts of their
pools as they come, and ends everything at the first error.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from mtd_ray.config import ApiTeacher, Recipe, Teacher
from mtd_ray.corpus import Manifest
from mtd_ray.harvest.failures import FailureLimit, reopen_failed_parts, require_few_failures
from mtd_ray.harvest.metrics import HarvestMetrics
from mtd_ray.harvest.plan import Plan, plan_harvest
from mtd_ray.harvest.pool import Tools, most_workers, quiet_ray_data, receipts_of
from mtd_ray.harvest.progress import Progress
from mtd_ray.harvest.receipt import HarvestReceipt, write_receipts
from mtd_ray.harvest.sharing import shared
from mtd_ray.harvest.totals import Totals, commit_keys, read_commits
from mtd_ray.harvest.worker import Receipt
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.micro import Spent
from mtd_ray.targets.sweep import sweep

_log = logging.getLogger(__name__)

# Ray Data complains with stack traces when the driver leaves while it is shutting an execution down.
_GRACE_S = 10.0

_News = Receipt | BaseException | float
_Feed = queue.Queue[tuple[str, _News]]


def harvest(
    store: ObjectStore,
    recipe: Recipe,
    manifest: Manifest,
    *,
    teachers: Sequence[str] | None = None,
    retry_failed: bool = False,
) -> dict[str, HarvestReceipt]:
    """Ask every teacher for the vectors of the corpus that are not committed yet.

    Ray must be connected. A finished teacher is not asked anything. After an interruption at any point, calling again does what is
    left.

    Args:
        teachers: names to restrict it to; all by default.
        retry_failed: ask rows that an earlier harvest stored without a vector once more.

    Returns:
        teacher → receipt.

    Raises:
        AccountError, BudgetSpent, TeacherUnavailable, BadAnswer, RecipeError, StorageError, …: the first error of any worker ends
            the harvest of all teachers; what is stored by then stays.
        TeacherError: more than ``harvest.max_failed_share`` of a teacher's rows have no vector; raised as soon as that is so.
    """
    names = tuple(dict.fromkeys(recipe.teachers if teachers is None else teachers))
    plans = plan_harvest(store, recipe, manifest, names)
    if retry_failed and sum([reopen_failed_parts(store, plan) for plan in plans]) > 0:
        plans = plan_harvest(store, recipe, manifest, names)
    spent = {plan.name: Spent() for plan in plans}
    if pending := [plan for plan in plans if plan.pending]:
        limits = {plan.name: FailureLimit(store, plan, recipe.harvest.max_failed_share) for plan in pending}
        with shared(store, recipe, {plan.name: plan.teacher for plan in pending}) as (limiters, budget):
            _harvest_all(Tools(recipe.name, store, limiters, budget), pending, spent, limits)
    # Of finished teachers too: a driver that was killed after its last commit left files and never came to this.
    for fingerprint in dict.fromkeys(plan.fingerprint for plan in plans):
        sweep(store, fingerprint)
    receipts = {plan.name: _settle(store, plan, spent[plan.name], recipe.harvest.max_failed_share) for plan in plans}
    for receipt in receipts.values():
        _log.info("harvested %s", receipt)
    if pending:
        _log.info("receipts: %s/%s", store.url, write_receipts(store, recipe, receipts))
    return receipts


def _harvest_all(tools: Tools, plans: list[Plan], spent: dict[str, Spent], limits: dict[str, FailureLimit]) -> None:
    """Harvest all teachers at once, each in a thread.

    The first error ends the others at their next receipt; it is raised when they have ended, or soon if that takes them long.
    """
    feed: _Feed = queue.Queue()
    stop = threading.Event()
    running = {plan.name for plan in plans}
    metrics = HarvestMetrics(tools.recipe, {plan.name: plan.pending_rows for plan in plans})
    with quiet_ray_data(), closing(metrics), _progress(tools, plans) as progress:
        threads = [threading.Thread(target=_harvest_teacher, args=(plan, tools, feed, stop), daemon=True) for plan in plans]
        for thread in threads:
            thread.start()
        try:
            while running:
                for name, news in _arrived(feed):
                    if isinstance(news, BaseException):
                        raise news
                    if isinstance(news, float):
                        spent[name] += Spent(seconds=news)
                        running.remove(name)
                    else:
                        spent[name] += _spent(news)
                        progress.add(name, news)
                        metrics.add(name, news, progress.quota_share(name))
                        if news.outcome == "committed" and limits[name].passed_by(news.failed_rows):
                            stop.set()  # before the error is put together, which takes reading
                            raise limits[name].error()
                progress.tick()
        finally:
            stop.set()
            deadline = time.monotonic() + _GRACE_S
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))


def _progress(tools: Tools, plans: list[Plan]) -> Progress:
    budget = tools.budget
    return Progress(
        {plan.name: plan.pending_rows for plan in plans},
        quotas={plan.name: plan.teacher.quota for plan in plans if isinstance(plan.teacher, ApiTeacher)},
        cap_usd=None if budget is None else budget.cap_usd,
        spent_before_usd=0.0 if budget is None else budget.spent_before_usd,
    )


def _arrived(feed: _Feed) -> list[tuple[str, _News]]:
    """What has come in, after at most a fifth of a second."""
    try:
        news = [feed.get(timeout=0.2)]
    except queue.Empty:
        return []
    while not feed.empty():
        news.append(feed.get())
    return news


def _spent(receipt: Receipt) -> Spent:
    """What a part cost this call. Raises the error that stopped it, if one did."""
    if receipt.error:
        receipt.raise_error()
    return Spent(receipt.tokens, receipt.requests, receipt.rejected, receipt.usd)


def _harvest_teacher(plan: Plan, tools: Tools, feed: _Feed, stop: threading.Event) -> None:
    """Body of a teacher's thread: receipts, then the seconds it all took; or what went wrong."""
    started = time.monotonic()
    try:
        with closing(receipts_of(plan, tools)) as receipts:
            for receipt in receipts:
                feed.put((plan.name, receipt))
                if receipt.error:
                    _let_end(receipts, plan.teacher)
                    return
                if stop.is_set():
                    return
        feed.put((plan.name, time.monotonic() - started))
    except BaseException as error:  # carried to the thread that waits, which raises it
        feed.put((plan.name, error))


def _let_end(receipts: Iterator[Receipt], teacher: Teacher) -> None:
    """After an error, give the parts under way a moment to meet it too: each then puts away the rows it has paid for.

    Parts that were only waiting come back ``skipped``, within milliseconds: they say nothing about those under way.
    """
    deadline = time.monotonic() + _GRACE_S
    under_way = most_workers(teacher) * teacher.parts_in_flight - 1
    while under_way > 0 and time.monotonic() < deadline and (receipt := next(receipts, None)) is not None:
        under_way -= receipt.outcome != "skipped"


def _settle(store: ObjectStore, plan: Plan, spent: Spent, max_failed_share: float) -> HarvestReceipt:
    totals = Totals.of(read_commits(store, commit_keys(plan.fingerprint, plan.parts)))
    require_few_failures(store, plan.name, totals, plan.rows, max_failed_share)
    return HarvestReceipt(
        teacher=plan.name,
        fingerprint=plan.fingerprint,
        rows=totals.rows,
        failed_rows=totals.failed_rows,
        parts=len(plan.parts),
        parts_already_there=len(plan.parts) - len(plan.pending),
        tokens=spent.tokens,
        requests=spent.requests,
        rejected_requests=spent.rejected,
        seconds=spent.seconds,
        usd=spent.usd,
        total_usd=totals.usd,
    )
