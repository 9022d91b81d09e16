"""What a harvest came to, for a person and for a program: said at its end, and written beside the targets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.harvest.claims import spent_usd
from mtd_ray.harvest.table import dollars
from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class HarvestReceipt:
    """One teacher's targets after a harvest.

    Attributes:
        rows, failed_rows, parts: everything committed for this corpus, whenever that was.
        parts_already_there: how many of the parts were committed before this call.
        tokens, requests, rejected_requests, usd: spent by this call; a request rejected for the rate limit costs nothing.
        seconds: how long this call took for the teacher.
        total_usd: US dollars that everything committed for this corpus has cost.
    """

    teacher: str
    fingerprint: str
    rows: int
    failed_rows: int
    parts: int
    parts_already_there: int
    tokens: int
    requests: int
    rejected_requests: int
    seconds: float
    usd: float = 0.0
    total_usd: float = 0.0

    def __str__(self) -> str:
        if self.parts == self.parts_already_there:
            return f"{self.teacher}: {self.rows:,} rows, all there already"
        spent = f"{self.tokens:,} tokens" + (f", {self.requests:,} requests" if self.requests else "")
        spent += f", {dollars(self.usd)}" if self.usd else ""
        kept = f", {self.parts_already_there} of {self.parts} parts there already" if self.parts_already_there else ""
        failed = f", {self.failed_rows:,} without a vector" if self.failed_rows else ""
        return f"{self.teacher}: {self.rows:,} rows{failed}{kept}; {spent} in {self.seconds:.0f} s"


def write_receipts(
    store: ObjectStore, recipe: Recipe, receipts: Mapping[str, HarvestReceipt], *, now: datetime | None = None
) -> str:
    """Write a harvest's receipts as JSON and as Markdown, under the time of day (UTC).

    They name models and counts; no reference to a secret stands in them.

    Args:
        receipts: teacher → receipt.
        now: the time to write them under; this moment by default.

    Returns:
        The key of the JSON; that of the Markdown differs in its ending.
    """
    at = (now or datetime.now(UTC)).astimezone(UTC)
    budget = recipe.harvest.budget_usd
    spent = None if budget is None else sum(spent_usd(store, recipe).values())
    facts = {
        "recipe": recipe.name,
        "written_at": at.isoformat(timespec="seconds"),
        "budget_usd": budget,
        "spent_of_budget_usd": spent,
        "teachers": {name: _with_model(recipe, receipt) for name, receipt in receipts.items()},
    }
    time = at.strftime("%Y%m%dT%H%M%S-%fZ")
    key = layout.harvest_receipt(recipe.name, time, "json")
    store.put(key, (json.dumps(facts, indent=1) + "\n").encode())
    text = _markdown(recipe, receipts, at, spent)
    store.put(layout.harvest_receipt(recipe.name, time, "md"), text.encode())
    return key


def _with_model(recipe: Recipe, receipt: HarvestReceipt) -> dict[str, object]:
    teacher = recipe.teachers[receipt.teacher]
    return {"provider": teacher.provider, "model": teacher.model, "dimensions": teacher.dimensions} | asdict(receipt)


_COLUMNS = ("teacher", "model", "vectors", "failed rows", "tokens", "requests", "rejected", "cost", "cost in all", "seconds")


def _cells(model: str, receipt: HarvestReceipt) -> list[str]:
    return [
        receipt.teacher,
        model,
        f"{receipt.rows - receipt.failed_rows:,}",
        f"{receipt.failed_rows:,}",
        f"{receipt.tokens:,}",
        f"{receipt.requests:,}",
        f"{receipt.rejected_requests:,}",
        dollars(receipt.usd),
        dollars(receipt.total_usd),
        f"{receipt.seconds:.0f}",
    ]


def _markdown(recipe: Recipe, receipts: Mapping[str, HarvestReceipt], at: datetime, spent: float | None) -> str:
    rows = [_cells(recipe.teachers[name].model, receipt) for name, receipt in receipts.items()]
    lines = [
        f"# Harvest of {recipe.name}, {at:%Y-%m-%d %H:%M} UTC",
        "",
        "Vectors, failed rows and cost in all are those of the whole corpus; the other numbers are those of this harvest.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (_COLUMNS, ["---"] * len(_COLUMNS), *rows)),
    ]
    if recipe.harvest.budget_usd is not None and spent is not None:
        lines += ["", f"Spent of `harvest.budget_usd`: {dollars(spent)} of {dollars(recipe.harvest.budget_usd)}."]
    return "\n".join(lines) + "\n"
