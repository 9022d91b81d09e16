"""What asking a teacher for so many rows and tokens comes to: dollars, bytes, hours, and the limit that decides the hours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mtd_ray.config import ApiTeacher, LocalTeacher, Teacher, catalog, usd_per_token
from mtd_ray.config.catalog import PerMinute
from mtd_ray.harvest.table import aligned, dollars

_BYTES_PER_NUMBER = 2


@dataclass(frozen=True)
class Work:
    """What is left to ask one teacher.

    Attributes:
        rows, total_rows: texts without a vector, and all texts of the corpus.
        tokens: of the rows that are left.
        counted: how the tokens are known, in words.
    """

    rows: int
    total_rows: int
    tokens: int
    counted: str


@dataclass(frozen=True)
class Cost:
    """What the work will come to with one teacher.

    Attributes:
        usd, batch_usd: US dollars, and at the price of the provider's batch API; None where no price is known.
        stored_bytes: of the vectors, in half precision.
        hours: at the quota; None where only a measurement could tell.
        limit: what decides the hours: ``tokens``, ``requests`` or ``inputs`` per minute; ``compute`` for a local teacher.
        quota: where the quota is taken from, in words.
        spent_usd: dollars the teacher has cost by now.
    """

    teacher: str
    work: Work
    usd: float | None
    batch_usd: float | None
    stored_bytes: int
    hours: float | None
    limit: str
    quota: str
    spent_usd: float = 0.0


def cost_of(name: str, teacher: Teacher, work: Work, spent_usd: float = 0.0) -> Cost:
    """The cost of some work with a teacher of the recipe."""
    stored = work.rows * teacher.dimensions * _BYTES_PER_NUMBER
    if isinstance(teacher, LocalTeacher):
        return Cost(name, work, None, None, stored, None, "compute", "how long it takes depends on the hardware", spent_usd)
    price = usd_per_token(teacher)
    batch_price = catalog().model(teacher.provider, teacher.model).batch_price if teacher.usd_per_million_tokens is None else None
    hours, limit, quota = _time(teacher, work)
    return Cost(
        name,
        work,
        None if price is None else work.tokens * price,
        None if batch_price is None else work.tokens * batch_price / 1e6,
        stored,
        hours,
        limit,
        quota,
        spent_usd,
    )


def requests_of(teacher: ApiTeacher, work: Work) -> int:
    """The fewest requests that the caps allow for some work."""
    return max(math.ceil(work.rows / teacher.max_inputs), math.ceil(work.tokens / teacher.max_request_tokens))


def _time(teacher: ApiTeacher, work: Work) -> tuple[float | None, str, str]:
    """Hours, the limit that decides them, and whose quota that is."""
    limits, source = _quota(teacher)
    amounts = {"tokens": work.tokens, "requests": requests_of(teacher, work), "inputs": work.rows}
    hours = {name: amount / per_minute / 60 for name, amount in amounts.items() if (per_minute := getattr(limits, name))}
    if not hours:
        return None, "unknown", source
    tightest = max(hours, key=lambda name: hours[name])
    return hours[tightest], f"{tightest} per minute", f"{getattr(limits, tightest):,.0f} {tightest} per minute, {source}"


def _quota(teacher: ApiTeacher) -> tuple[PerMinute, str]:
    quota = teacher.quota
    given = PerMinute(requests=quota.requests_per_minute, tokens=quota.tokens_per_minute, inputs=quota.inputs_per_minute)
    if given != PerMinute():
        return given, "from the recipe"
    if teacher.model not in catalog().providers[teacher.provider].models:
        return given, "the recipe gives no quota, and none is known for this model"
    return catalog().per_minute(teacher.provider, teacher.model), f"the provider's highest ordinary tier as of {catalog().as_of}"


@dataclass(frozen=True)
class Forecast:
    """The costs of teachers, and the budget of the recipe. As a string, a table for a person.

    Attributes:
        spent_on_others_usd: dollars that the recipe's teachers which are not among these have cost by now.
    """

    costs: Sequence[Cost]
    budget_usd: float | None = None
    spent_on_others_usd: float = 0.0

    @property
    def usd(self) -> float:
        """Dollars of all teachers whose price is known."""
        return sum(cost.usd or 0.0 for cost in self.costs)

    @property
    def spent_usd(self) -> float:
        """Dollars that count against the budget by now."""
        return self.spent_on_others_usd + sum(cost.spent_usd for cost in self.costs)

    def __str__(self) -> str:
        header = ["teacher", "rows", "of", "tokens", "cost", "batch price", "to store", "time", "limit", "spent"]
        rows = [header, *(_row(cost) for cost in self.costs)]
        if len(self.costs) > 1:
            rows.append(self._total())
        notes = [f"{cost.teacher}: tokens {cost.work.counted}; {cost.quota}" for cost in self.costs if cost.work.rows]
        return "\n".join([*aligned(rows), "", *notes, *self._money()])

    def _total(self) -> list[str]:
        known = [cost.hours for cost in self.costs if cost.hours is not None]
        batch = [cost.usd if cost.batch_usd is None else cost.batch_usd for cost in self.costs]
        some_batch = any(cost.batch_usd is not None for cost in self.costs)
        return [
            "together",
            f"{sum(cost.work.rows for cost in self.costs):,}",
            f"{sum(cost.work.total_rows for cost in self.costs):,}",
            f"{sum(cost.work.tokens for cost in self.costs):,}",
            dollars(self.usd),
            dollars(sum(usd or 0.0 for usd in batch)) if some_batch else "",
            _bytes(sum(cost.stored_bytes for cost in self.costs)),
            _duration(max(known)) if known else "",
            "",
            dollars(self.spent_usd) if self.spent_usd else "",
        ]

    def _money(self) -> list[str]:
        lines = [f"prices as of {catalog().as_of}"] if any(cost.usd for cost in self.costs) else []
        if self.budget_usd is not None:
            left = max(0.0, self.budget_usd - self.spent_usd)
            enough = "enough" if self.usd <= left else f"not enough: {dollars(self.usd - left)} are missing"
            lines.append(f"harvest.budget_usd: {dollars(left)} of {dollars(self.budget_usd)} left, {enough}")
        return lines


def _row(cost: Cost) -> list[str]:
    work = cost.work
    limit = cost.limit if work.rows else ""
    return [
        cost.teacher,
        f"{work.rows:,}",
        f"{work.total_rows:,}",
        f"{work.tokens:,}",
        "" if cost.usd is None else dollars(cost.usd),
        "" if cost.batch_usd is None else dollars(cost.batch_usd),
        _bytes(cost.stored_bytes),
        "?" if cost.hours is None and work.rows else "" if not work.rows else _duration(cost.hours or 0.0),
        limit,
        dollars(cost.spent_usd) if cost.spent_usd else "",
    ]


def _duration(hours: float) -> str:
    if hours >= 100:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
