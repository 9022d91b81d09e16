"""Everything that a report says, as numbers: filled by ``gather.py``, shown by ``html.py`` and ``markdown.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mtd_ray.evaluate.results import Results


@dataclass(frozen=True)
class Agreement:
    """How close a head is to the teachers' target, on texts that training did not see.

    Attributes:
        cosine: mean cosine to the target, −1 to 1; None where the sizes differ and the recipe does not map the target to the head.
        overlap: mean share of a text's ten nearest neighbours in the target that are among its ten nearest in the head, 0 to 1.
        texts: how many texts were compared.
    """

    size: int
    cosine: float | None
    overlap: float
    texts: int


@dataclass(frozen=True)
class LengthScore:
    """Score of the student's default size, and of the best teacher, on the items of a task whose text has at most ``most`` tokens.

    Items are those above the next smaller bound; ``most`` None is without bound.
    """

    task: str
    most: int | None
    items: int
    student: float
    teacher: float | None


@dataclass(frozen=True)
class CurvePoint:
    """One logged step: ``values`` by the names of the metrics log (``loss``, ``768/cosine``, ``lr``, …)."""

    stage: str
    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class HarvestCost:
    """What a teacher's vectors of the corpus took: over the life of its target store."""

    teacher: str
    model: str
    rows: int
    failed_rows: int
    tokens: int
    usd: float


@dataclass(frozen=True)
class EmbeddingCost:
    """Dollars for a million texts as long as the corpus's are on average.

    ``how``: in words, the machine and its measured speed, or the API's price and the mean tokens.
    """

    name: str
    usd_per_million: float | None
    texts_per_second: float | None
    how: str


@dataclass(frozen=True)
class ReportData:
    """All of it. ``facts`` are (label, text) lines about the run: recipe, corpus, student, teachers, licences, versions."""

    title: str
    results: Results
    agreements: tuple[Agreement, ...] = ()
    lengths: tuple[LengthScore, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    harvest: tuple[HarvestCost, ...] = ()
    embedding: tuple[EmbeddingCost, ...] = ()
    gates: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For other programs; ``results`` as :meth:`Results.to_json` writes it."""
        from dataclasses import asdict

        rest = {name: [asdict(entry) for entry in getattr(self, name)]
                for name in ("agreements", "lengths", "curves", "harvest", "embedding")}  # fmt: skip
        return {"title": self.title, "results": self.results.to_json(), "gates": list(self.gates), "facts": dict(self.facts)} | rest
