"""A sentence-transformers model of this machine as a teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtd_ray.config import Kind, LocalTeacher
from mtd_ray.encoder import Encoder
from mtd_ray.encoder.heads import head_sizes
from mtd_ray.errors import MtdError
from mtd_ray.teachers.base import Answer, TeacherError, Vectors, collected, set_aside_bad_rows
from mtd_ray.teachers.shorten import shorten


class LocalTeacherClient:
    """Embeds with a model in this process; see :class:`mtd_ray.teachers.base.TeacherClient`.

    Threads that ask at once take turns at the tokenizer and at the model, so that one tokenises while another computes.

    ``Answer.tokens`` is exact: what the model read, prompts and special tokens included, after truncation.

    Raises:
        TeacherError: from the constructor, when the model cannot be loaded or its vectors cannot have the recipe's ``dimensions``.
    """

    def __init__(self, name: str, config: LocalTeacher) -> None:
        self.name = name
        self.config = config
        self._encoder = _load(name, config)
        _check_size(name, config, self._encoder.dimension)

    def answers(self, texts: Sequence[str], kinds: Sequence[Kind], *, tick_s: float) -> Iterator[Answer]:
        """One answer for each prompt among the kinds. Rows whose vector is not finite or zero are failures.

        ``tick_s`` is not needed: nothing here is paid for, so there is nothing to put away early.
        """
        for prompt, rows in self._rows_by_prompt(kinds).items():
            encoded = self._encoder.embed([texts[row] for row in rows], prompt=prompt)
            vectors, failures = set_aside_bad_rows(self._shortened(encoded.vectors))
            yield Answer(rows, vectors, {rows[place]: why for place, why in failures.items()}, encoded.tokens, requests=0)

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        """All answers in one, in the order of ``texts``."""
        return collected(self.answers(texts, kinds, tick_s=math.inf), len(texts), self.config.dimensions)

    def close(self) -> None:
        """Nothing to give back: the model goes when the client does."""

    def _shortened(self, vectors: Vectors) -> Vectors:
        if self.config.shorten is None or vectors.shape[1] == self.config.dimensions:
            return vectors
        return shorten(vectors, self.config.dimensions, self.config.shorten, normalize=self._encoder.normalized)

    def _rows_by_prompt(self, kinds: Sequence[Kind]) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, kind in enumerate(kinds):
            rows.setdefault(self.config.prompts.get(kind, ""), []).append(row)
        return rows


def _check_size(name: str, config: LocalTeacher, size: int) -> None:
    if config.dimensions == size or (config.shorten and config.dimensions < size):
        return
    folder = Path(config.model).expanduser()
    heads = [head for head in head_sizes(folder) if head != size]
    advice = f"set it to {size}" + (f" or, for another of its heads, to {', '.join(map(str, heads))}" if heads else "")
    if config.dimensions < size:
        advice += f", or say how to make them shorter: teachers.{name}.shorten: cut (the first numbers) or fold (chunks added up)"
    raise TeacherError(
        f"teachers.{name}.dimensions: {config.dimensions} is not the size of {config.model!r}, whose vectors have {size} numbers; "
        f"{advice}"
    )


def _load(name: str, config: LocalTeacher) -> Encoder:
    try:
        return Encoder.load(
            config.model,
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=config.dtype,
            max_tokens=config.max_tokens,
            head=config.dimensions if config.shorten is None else None,
            batch_tokens=config.batch_tokens,
            backend=config.backend,
        )
    except MtdError as error:
        raise TeacherError(f"teachers.{name}.model: {error}") from error
