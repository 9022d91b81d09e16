"""The forms in which a model's vectors are measured: their size, and how they came to it."""

from __future__ import annotations

from dataclasses import dataclass

from mtd_ray.config import Form


@dataclass(frozen=True, order=True)
class View:
    """Vectors of ``size`` numbers.

    ``form``: ``float32`` as the model gives them; ``int8`` and ``binary`` quantised; ``cut`` and ``pca`` its largest vectors made
    this short by taking the first numbers, or the strongest directions.
    """

    size: int
    form: Form = "float32"

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
