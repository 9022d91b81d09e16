"""The model that mteb sees: whatever it asks for is looked up among vectors that are there already, in one view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mteb._create_dataloaders import create_dataloader
from mteb.models import ModelMeta
from mteb.types import PromptType

from mtd_ray.evaluate.measuring.embedded import EmbeddedTexts, Rows, blocks_of
from mtd_ray.evaluate.measuring.forms import Bases, Change, change_for, made_of
from mtd_ray.evaluate.measuring.search import Stored, nearest, ranked
from mtd_ray.evaluate.models.base import Asked, Side, TextEncoder
from mtd_ray.evaluate.vectors import Vectors, unit
from mtd_ray.evaluate.views import View


@dataclass(frozen=True, eq=False)
class Listed:
    """Queries or documents as mteb gives them to models: names, texts (one by one, from mteb's own table) and rows."""

    names: list[str]
    table: Any
    rows: Rows

    @cached_property
    def places(self) -> dict[str, int]:
        """Name → position."""
        return {name: place for place, name in enumerate(self.names)}

    def texts(self, names: Sequence[str]) -> list[str]:
        """Of those among the names that are listed."""
        return [str(self.table[self.places[name]]["text"]) for name in names if name in self.places]


class Library:
    """What one encoder gives on the texts of one task, for all views.

    Args:
        folder: where vectors are kept.
        sizes: of the vectors that views are made of.
    """

    def __init__(self, encoder: TextEncoder, folder: Path, sizes: Sequence[int]) -> None:
        self.encoder, self._folder, self._sizes = encoder, folder, tuple(sizes)
        self._embedded: dict[Asked, EmbeddedTexts] = {}
        self._listed: dict[tuple[PromptType, str, str], Listed] = {}

    @property
    def prompts(self) -> dict[str, str]:
        """Side → prompt, of what was asked for until now."""
        return {asked.side or "": texts.prompt for asked, texts in self._embedded.items()}

    @property
    def failed(self) -> int:
        """Texts without a vector, of those that were asked for until now."""
        return sum(texts.failed for texts in self._embedded.values())

    def texts(self, asked: Asked) -> EmbeddedTexts:
        """The texts that were asked for in one manner."""
        if asked not in self._embedded:
            folder = self._folder / str(len(self._embedded))
            folder.mkdir()
            self._embedded[asked] = EmbeddedTexts(self.encoder, asked, folder, self._sizes)
        return self._embedded[asked]

    def stored(self) -> Iterator[EmbeddedTexts]:
        """The texts that a database would hold: documents, or all texts where there are none."""
        documents = [texts for asked, texts in self._embedded.items() if asked.side == "document"]
        yield from documents or self._embedded.values()

    def listed(self, table: Any, metadata: Any, split: str, subset: str, side: PromptType) -> Listed:
        """mteb's table of queries or documents of one subset; read once."""
        key = (side, split, subset)
        if key not in self._listed:
            ready = create_dataloader(table, task_metadata=metadata, prompt_type=side).dataset
            rows = self.texts(asked_for(metadata, side)).rows(list(ready["text"]))
            self._listed[key] = Listed(list(table["id"]), ready, rows)
        return self._listed[key]

    def documents(self, place: tuple[str, str]) -> Listed:
        """The documents of a split's subset, which were searched."""
        return self._listed[PromptType.document, *place]


class Lookup:
    """An mteb encoder and search model. Texts are compared by cosine; in float32 a vector of zeros is like no other.

    Args:
        bases: for the form ``pca``.
    """

    def __init__(self, library: Library, view: View, bases: Bases) -> None:
        about = library.encoder.about
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": about.name, "revision": about.revision, "embed_dim": view.size, "max_tokens": about.max_tokens}
        )
        self.cosines: list[Vectors] = []
        self._library, self._view, self._bases = library, view, bases
        self._size = made_of(view, max(library.encoder.sizes))
        self._corpus: Listed

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: PromptType | None = None, **_: Any) -> Vectors:
        """Vectors of a data loader's texts."""
        texts = self._library.texts(asked_for(task_metadata, prompt_type))
        vectors = texts.vectors(self._size, texts.rows(list(inputs.dataset["text"])))
        if self._view.form in ("float32", "cut"):
            return self._change(vectors)
        changed = np.empty((len(vectors), self._view.size), np.float32)
        for part in blocks_of(len(vectors), self._size):
            changed[part] = self._change(vectors[part])
        return changed

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Vectors:
        """Cosine of each with each: one axis for each argument that has rows."""
        one, other = np.asarray(embeddings1), np.asarray(embeddings2)
        products = unit(np.atleast_2d(one)) @ unit(np.atleast_2d(other)).T
        return np.reshape(products, one.shape[:-1] + other.shape[:-1])

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Vectors:
        one, other = np.asarray(embeddings1), np.asarray(embeddings2)
        product = np.empty(len(one), np.float32)
        for part in blocks_of(len(one), one.shape[1]):
            product[part] = (unit(one[part]) * unit(other[part])).sum(axis=1)
        self.cosines.append(product)
        return product

    def index(self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **_: Any) -> None:
        """Remember the documents that the next search is among."""
        self._corpus = self._library.listed(corpus, task_metadata, hf_split, hf_subset, PromptType.document)

    def search(
        self, queries: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None, **_: Any,
    ) -> dict[str, dict[str, float]]:  # fmt: skip
        """Query's id → document's id → cosine, of the nearest ``top_k``, or of the nearest of the query's own candidates."""
        corpus, asked = self._corpus, self._library.listed(queries, task_metadata, hf_split, hf_subset, PromptType.query)
        wanted = self._stored(task_metadata, PromptType.query, asked.rows)
        documents = self._stored(task_metadata, PromptType.document, corpus.rows)
        if top_ranked is None:
            found = nearest(wanted, documents, most=top_k, device=self._library.encoder.device)
        else:
            candidates = {name: [corpus.places[one] for one in ids] for name, ids in top_ranked.items()}
            found = ranked(wanted, asked.names, candidates, documents, most=top_k)
        return {
            name: {corpus.names[place]: cosine for cosine, place in zip(*pair, strict=True)}
            for name, pair in zip(asked.names, found, strict=True)
        }

    def _stored(self, metadata: Any, side: PromptType, rows: Rows) -> Stored:
        texts = self._library.texts(asked_for(metadata, side))
        return Stored(rows, lambda wanted: unit(self._change(texts.vectors(self._size, wanted))), self._size)

    @cached_property
    def _change(self) -> Change:
        """Made when the first vectors are asked for, at a time when all texts of the task have been read."""
        return change_for(self._view, self._calibration, self._bases)

    def _calibration(self) -> Iterator[Vectors]:
        for texts in self._library.stored():
            yield from map(unit, texts.blocks(self._size))


def asked_for(metadata: Any, side: PromptType | None) -> Asked:
    """What mteb wants a text's vector for."""
    sides: dict[PromptType | None, Side] = {PromptType.query: "query", PromptType.document: "document", None: None}
    return Asked(metadata.name, metadata.type, sides[side])
