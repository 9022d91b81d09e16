"""The forms in which a model's vectors are measured: their size, and how they came to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtd_ray.config import Form

FORMED_TYPES = ("Retrieval", "Reranking", "STS")
"""Types of tasks on which forms other than float32 are measured: those that compare vectors, as a vector database does."""


@dataclass(frozen=True, order=True)
class View:
    """Vectors of ``size`` numbers.

    ``form``: ``float32`` as the model gives them; ``int8`` and ``binary`` quantised; ``cut`` and ``pca`` its largest vectors made
    this short by taking the first numbers, or the strongest directions.
    """

    size: int
    form: Form = "float32"

    @property
    def derived(self) -> bool:
        """Whether it is made of the model's largest vectors, not of those of its own size."""
        return self.form in ("cut", "pca")

    @property
    def bytes(self) -> int:
        """Storage of one vector."""
        return {"int8": self.size, "binary": -(-self.size // 8)}.get(self.form, 4 * self.size)

    def __str__(self) -> str:
        return str(self.size) if self.form == "float32" else f"{self.size}-{self.form}"

    @classmethod
    def parse(cls, text: str) -> View:
        """Read what ``str`` gives."""
        size, _, form = text.partition("-")
        return cls(int(size), form or "float32")  # type: ignore[arg-type]


def views_for(sizes: Sequence[int], forms: Sequence[Form], task_type: str) -> tuple[View, ...]:
    """The views in which a model of these sizes is measured on a task of mteb's type ``task_type``, by size and form.

    float32 at every size whatever the forms; the other forms on tasks that compare vectors, of which ``cut`` and ``pca`` below the
    largest size.
    """
    wanted: set[Form] = {"float32", *(forms if task_type in FORMED_TYPES else ())}
    found = {View(size, form) for size in sizes for form in wanted}
    return tuple(sorted(view for view in found if view.size < max(sizes) or not view.derived))
