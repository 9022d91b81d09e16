"""Where the texts of a corpus come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mtd_ray.config.base import Frozen, Kind, PositiveInt


class ParquetSource(Frozen):
    """Parquet files: one file, a folder, or an ``s3://`` prefix."""

    format: Literal["parquet"]
    path: str
    text_column: str = "text"
    kind_column: str | None = None
    kind: Kind = "passage"


class JsonlSource(Frozen):
    """JSON Lines files (``.jsonl``, ``.jsonl.gz``): one file, a folder, or an ``s3://`` prefix."""

    format: Literal["jsonl"]
    path: str
    text_column: str = "text"
    kind_column: str | None = None
    kind: Kind = "passage"


class HuggingFaceSource(Frozen):
    """A dataset of the Hugging Face hub, or a folder written by ``Dataset.save_to_disk``."""

    format: Literal["huggingface"]
    path: str
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    text_column: str = "text"
    kind: Kind = "passage"


class DocstringSource(Frozen):
    """Docstrings of the Python packages installed here: real technical English that every machine has.

    Summary lines become queries and bodies become passages. Whole modules are held out for evaluation.
    """

    format: Literal["docstrings"]
    packages: tuple[str, ...] = ()
    heldout_pairs: PositiveInt = 500


Source = Annotated[ParquetSource | JsonlSource | HuggingFaceSource | DocstringSource, Field(discriminator="format")]


class CorpusConfig(Frozen):
    """The texts, and how they are cleaned.

    ``long_texts`` decides about texts over ``max_chars`` characters: ``error`` refuses the corpus and names the row, ``cut``
    keeps the beginning, ``drop`` leaves the text out.

    ``additions`` let a corpus grow: each adds shards with the texts that are not there yet, after those of everything before it.
    The shards before stay what and where they are, in the folders of the corpora before, so a corpus that others grew from must not
    be deleted; the teachers' vectors for them stay too. ``limit`` counts the texts of ``source`` only.
    Append to the list; what stands before in it, and all other keys here, must stay as they were, or it is another corpus.
    """

    source: Source
    additions: tuple[Source, ...] = ()
    limit: PositiveInt | None = None
    shard_rows: PositiveInt = 10_000
    max_chars: PositiveInt = 20_000
    long_texts: Literal["error", "cut", "drop"] = "error"

    @model_serializer(mode="wrap")
    def _without_empty_additions(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A corpus that never grew has the fingerprint it would have if it could not."""
        tree: dict[str, Any] = dump(self)
        if not self.additions:
            tree.pop("additions", None)
        return tree
