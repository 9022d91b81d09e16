"""What the teachers' vectors cost, and what embedding costs from now on."""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray.report.charts.dots import Dot, DotRow, Dots
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.marks import Shape
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.data import EmbeddingCost, HarvestCost
from mtd_ray.report.numbers import NONE, count, usd

_HARVEST = "What did the harvest cost?"
_EMBEDDING = "What does a million embeddings cost?"


def harvest_cost(costs: Sequence[HarvestCost]) -> Section:
    """A row per teacher, and their sum."""
    if not costs:
        return Section("harvest", _HARVEST, absent="No teacher's vectors were harvested.")
    rows: list[tuple[str, ...]] = [
        (cost.teacher, cost.model, count(cost.rows), count(cost.failed_rows), count(cost.tokens), usd(cost.usd)) for cost in costs
    ]
    total = sum(cost.usd for cost in costs)
    if len(costs) > 1:
        sums = (sum(cost.rows for cost in costs), sum(cost.failed_rows for cost in costs), sum(cost.tokens for cost in costs))
        rows.append(("all teachers", "", *(count(number) for number in sums), usd(total)))
    header = ("teacher", "model", "rows", "failed rows", "tokens", "dollars")
    table = Table("Each teacher's vectors of the corpus, over the life of its store", header, tuple(rows), left=2,
                  strong=frozenset({len(rows) - 1}) if len(costs) > 1 else frozenset())  # fmt: skip
    text = (
        f"The teachers' vectors of the corpus cost {usd(total)} in all. They are kept and serve every later run. Teachers that run "
        "on one's own machines have no price for each token; their machines are not counted."
    )
    return Section("harvest", _HARVEST, (text,), shown=(table,))


def embedding_cost(costs: Sequence[EmbeddingCost]) -> Section:
    """The student beside the teachers' prices, on a logarithmic scale."""
    if not costs:
        return Section("embedding", _EMBEDDING, absent="Neither the student's speed nor a price of a teacher is known.")
    rows = tuple(
        (cost.name, cost.how, usd(cost.usd_per_million), NONE if cost.texts_per_second is None else count(cost.texts_per_second))
        for cost in costs
    )
    header = ("who", "how it is known", "dollars per million texts", "texts per second")
    table = Table("Dollars for a million texts as long as the corpus's are on average", header, rows, left=2)
    drawn = [cost for cost in costs if cost.usd_per_million]
    charts = (_chart(drawn),) if len(drawn) > 1 else ()
    text = (
        "For texts as long as the corpus's are on average: from a machine's price and its measured speed, or from an API's price "
        "and the mean number of tokens."
    )
    return Section("embedding", _EMBEDDING, (text,), shown=(*charts, table))


def _chart(costs: list[EmbeddingCost]) -> Chart:
    ordered = sorted(costs, key=lambda cost: cost.usd_per_million or 0.0)
    rows = tuple(DotRow(cost.name, (_dot(cost),), usd(cost.usd_per_million)) for cost in ordered)
    told = "; ".join(f"{row.name} {row.value}" for row in rows)
    axis = Axis("Dollars per million texts (logarithmic)", log=True, margin=0.05)
    description = f"Dollars for embedding a million texts: {told}."
    return Chart("embedding", _title(ordered), description, Dots(axis, rows))


def _dot(cost: EmbeddingCost) -> Dot:
    look, shape = _look(cost)
    return Dot(cost.usd_per_million or 0.0, look, f"{cost.name}: {usd(cost.usd_per_million)} per million texts", shape)


def _look(cost: EmbeddingCost) -> tuple[str, Shape]:
    return ("student", "circle") if cost.name.startswith("student") else ("teacher", "square")


def _title(costs: list[EmbeddingCost]) -> str:
    own = next((cost for cost in costs if cost.name.startswith("student")), None)
    others = [cost for cost in costs if cost is not own]
    if own is None or not others or not own.usd_per_million:
        return "Dollars per million texts"
    cheap = others[0]
    ratio = (cheap.usd_per_million or 0.0) / own.usd_per_million
    if ratio >= 1.1:
        return (
            f"The student costs a {ratio:,.0f}th of the cheapest other, {cheap.name}"
            if ratio >= 10
            else (f"{cheap.name}, the cheapest other, costs {ratio:.1f} times as much as the student")
        )
    return f"The student costs {usd(own.usd_per_million)} per million texts, {cheap.name} {usd(cheap.usd_per_million)}"
