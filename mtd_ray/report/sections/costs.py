"""What the teachers' vectors cost, and what embedding costs from now on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mtd_ray.numbers import NONE, count, listed, usd
from mtd_ray.report.charts.dots import Dot, DotRow, Dots
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.marks import Shape
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.data import EmbeddingCost, HarvestCost

_HARVEST = "What did the harvest cost?"
_EMBEDDING = "What does a million embeddings cost?"


def harvest_cost(costs: Sequence[HarvestCost]) -> Section:
    """A row per teacher, and their sum."""
    if not costs:
        return Section("harvest", _HARVEST, absent="No teacher's vectors were harvested.")
    rows: list[tuple[str, ...]] = [
        (cost.teacher, cost.model, count(cost.rows), count(cost.failed_rows), count(cost.tokens), _charged(cost)) for cost in costs
    ]
    if len(costs) > 1:
        sums = (sum(cost.rows for cost in costs), sum(cost.failed_rows for cost in costs), sum(cost.tokens for cost in costs))
        rows.append(("all teachers", "", *(count(number) for number in sums), _sum(costs)))
    header = ("teacher", "model", "rows", "failed rows", "tokens", "dollars")
    table = Table("Each teacher's vectors of the corpus, over the life of its store", header, tuple(rows), left=2,
                  strong=frozenset({len(rows) - 1}) if len(costs) > 1 else frozenset())  # fmt: skip
    return Section("harvest", _HARVEST, (" ".join(_words(costs)),), shown=(table,))


def _charged(cost: HarvestCost) -> str:
    return "unknown" if cost.usd is None else usd(cost.usd)


def _sum(costs: Sequence[HarvestCost]) -> str:
    """Of what is known; what is not can only add to it."""
    known = [cost.usd for cost in costs if cost.usd is not None]
    if not known:
        return "unknown"
    return usd(sum(known)) if len(known) == len(costs) else f"at least {usd(sum(known))}"


def _words(costs: Sequence[HarvestCost]) -> Iterator[str]:
    unknown = [cost.teacher for cost in costs if cost.usd is None]
    own = [cost.teacher for cost in costs if cost.usd == 0]
    if len(unknown) < len(costs):
        yield f"The teachers' vectors of the corpus cost {_sum(costs)} in all. They are kept and serve every later run."
    if unknown:
        yield f"Nobody knows what was paid for {listed(unknown)}: no price was known when the tokens were asked for."
    if own:
        yield f"Nobody charges for {listed(own)}: {'its machine is' if len(own) == 1 else 'their machines are'} not counted."


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
        "For texts as long as the corpus's are on average: from one worker's measured speed and what the recipe says that it costs "
        "an hour, or from an API's price and the mean number of tokens."
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
    return ("student", "circle") if cost.role == "student" else ("teacher", "square")


def _title(costs: list[EmbeddingCost]) -> str:
    """From the cheapest on."""
    own = next((cost.usd_per_million for cost in costs if cost.role == "student"), None)
    other = next((cost for cost in costs if cost.role != "student"), None)
    if not own or other is None or not other.usd_per_million:
        return "Dollars per million texts"
    ratio = other.usd_per_million / own
    if ratio >= 1.1:
        return f"{other.name}, the cheapest API, costs {ratio:.1f} times as much as the student"
    return f"The student costs {usd(own)} per million texts, {other.name} {usd(other.usd_per_million)}"
