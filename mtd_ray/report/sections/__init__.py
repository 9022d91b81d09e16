"""The sections of a report, in the order in which a reader asks."""

from __future__ import annotations

from mtd_ray.config.evaluate import Requirements
from mtd_ray.report.content import Section
from mtd_ray.report.data import ReportData
from mtd_ray.report.sections.agreement import agreement
from mtd_ray.report.sections.costs import embedding_cost, harvest_cost
from mtd_ray.report.sections.kept import kept
from mtd_ray.report.sections.kinds import kinds
from mtd_ray.report.sections.lengths import lengths
from mtd_ray.report.sections.run import gates, provenance
from mtd_ray.report.sections.sizes import sizes
from mtd_ray.report.sections.training import training


def sections(data: ReportData, require: Requirements) -> tuple[Section, ...]:
    """Every section, also those that can only say why they show nothing."""
    results = data.results
    measured = (kept(data), sizes(results), kinds(results), lengths(data.lengths))
    costs = (harvest_cost(data.harvest), embedding_cost(data.embedding))
    return (
        *measured,
        agreement(data.agreements),
        training(data.curves),
        *costs,
        gates(data.gates, require),
        provenance(data.facts),
    )
