"""Everything that a report says, as numbers: filled by ``gather.py``, shown by ``html.py`` and ``markdown.py``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

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
    """Score of the student's default size, and of the best teacher, on some items of a task.

    Those whose text has more than ``above`` tokens and at most ``most``; None is without bound.
    """

    task: str
    above: int
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
    """What a teacher's vectors of the corpus took: over the life of its target store.

    ``usd`` is 0 for a teacher that nobody charges for, on machines of one's own, which are not counted; None where nobody knows
    the price.
    """

    teacher: str
    model: str
    rows: int
    failed_rows: int
    tokens: int
    usd: float | None


@dataclass(frozen=True)
class EmbeddingCost:
    """Dollars for a million texts as long as the corpus's are on average; None where no price is known.

    ``how``: in words, the machine whose speed was measured, or the API's price and the mean tokens.
    """

    role: Literal["student", "teacher"]
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
        rest = {name: [asdict(entry) for entry in getattr(self, name)]
                for name in ("agreements", "lengths", "curves", "harvest", "embedding")}  # fmt: skip
        return {
            "title": self.title,
            "results": self.results.to_json(),
            "gates": list(self.gates),
            "facts": [list(fact) for fact in self.facts],
        } | rest
