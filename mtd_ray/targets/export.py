"""Committed targets beside their texts' ids, as a table that other tools read: a plain Parquet dataset or a Delta table.

```
<to>/<teacher>/shard-00000.parquet …        format parquet
<to>/<teacher>/_delta_log/… shard=0/… …     format delta
<to>/<teacher>.export.json                  which state of which shard is there; outside, for readers that take a folder whole
```
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
import pyarrow as pa

from mtd_ray.config import Recipe, fingerprint, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.commit import Part, pending_parts
from mtd_ray.targets.export_tables import DeltaTable, ParquetTable
from mtd_ray.targets.read import TargetStore

Format = Literal["parquet", "delta"]
FORMATS: tuple[Format, ...] = get_args(Format)
_RECORD = ".export.json"


@dataclass(frozen=True)
class Exported:
    """One teacher's table after an export: ``written`` and ``unchanged`` count shards."""

    teacher: str
    url: str
    rows: int
    written: int
    unchanged: int

    def __str__(self) -> str:
        kept = f", {self.unchanged} of {self.written + self.unchanged} shards there already" if self.unchanged else ""
        return f"{self.teacher}: {self.rows:,} rows in {self.url}{kept}"


class _Table(Protocol):
    def shards(self) -> dict[int, bool]:
        """Shards that have rows in the table → whether all their files are there."""

    def write(self, shard: int, batches: pa.RecordBatchReader) -> None:
        """Put a shard's rows in, in place of those it had."""

    def remove(self, shard: int) -> None:
        """Take a shard's rows out."""


def export_targets(
    store: ObjectStore,
    recipe: Recipe,
    manifest: Manifest,
    to: ObjectStore,
    form: Format,
    *,
    teachers: Sequence[str] | None = None,
    with_text: bool = False,
) -> Iterator[Exported]:
    """Write one table per teacher, a file per shard: ``shard``, ``id``, ``kind``, ``vector``, ``reason``.

    ``vector`` is a list of ``dimensions`` float32 (of fixed size in Parquet; Delta knows no such type), null where the teacher gave
    none; ``reason`` then says why. A part of a shard is in memory at a time. Called again, it writes only shards that changed.

    Args:
        to: where the tables go.
        with_text: add the column ``text``.

    Yields:
        Each teacher's table when it is complete.

    Raises:
        TargetError: a teacher is not harvested to the end, its targets are damaged, or its folder holds another export or things
            that nothing is known about.
        MtdError: the package that writes Delta tables is not installed.
    """
    for name in recipe.teachers if teachers is None else teachers:
        if pending := pending_parts(store, teacher_fingerprint(recipe.teachers[name]), manifest, recipe.harvest.part_rows):
            raise TargetError(f"teacher {name}: {len(pending)} parts are not harvested yet; harvest it to the end first")
        yield _Export(store, recipe, manifest, to, form, name, with_text).run()


class _Export:
    """One teacher's export."""

    def __init__(  # noqa: PLR0917 (all of it is the call's own)
        self, store: ObjectStore, recipe: Recipe, manifest: Manifest, to: ObjectStore, form: Format, name: str, with_text: bool
    ) -> None:
        teacher = recipe.teachers[name]
        self._store, self._manifest, self._to, self._name, self._with_text = store, manifest, to, name, with_text
        self._url, self._record_key = f"{to.url}/{name}", f"{name}{_RECORD}"
        self._targets = TargetStore(store, teacher_fingerprint(teacher), recipe.harvest.part_rows, teacher.dimensions)
        self._dimensions = teacher.dimensions
        self._what = {"teacher": teacher_fingerprint(teacher), "format": form, "text": with_text}
        self._table: _Table = ParquetTable(to, name) if form == "parquet" else DeltaTable(to, name)

    def run(self) -> Exported:
        recorded, there = self._recorded(), self._table.shards()
        written = 0
        for shard in self._manifest.shards:
            state = self._state(shard)
            if recorded.get(shard.index) != state or not there.get(shard.index):
                self._write(shard, state, recorded)
                written += 1
        self._remove_surplus(recorded, there)
        return Exported(self._name, self._url, self._manifest.rows, written, len(self._manifest.shards) - written)

    def _write(self, shard: Shard, state: str, recorded: dict[int, str]) -> None:
        if recorded.pop(shard.index, None) is not None:
            self._record(recorded)  # interrupted after the table was written, the record would tell of rows that are gone
        self._table.write(shard.index, pa.RecordBatchReader.from_batches(self._schema(), self._batches(shard)))
        recorded[shard.index] = state
        self._record(recorded)

    def _remove_surplus(self, recorded: dict[int, str], there: Iterable[int]) -> None:
        """Shards of a longer corpus that was exported here before."""
        known = {shard.index for shard in self._manifest.shards}
        for index in set(there) - known:
            self._table.remove(index)
        if recorded.keys() - known:
            self._record({index: state for index, state in recorded.items() if index in known})

    def _recorded(self) -> dict[int, str]:
        """Shard → the state that was written. The record comes before the first shard: what has none is not ours to change."""
        found = self._found_record()
        if not isinstance(found, str):
            return found
        if next(self._to.list(self._name), None) is not None:
            raise TargetError(f"{self._url} {found}: delete that folder and {self._to.url}/{self._record_key}, or export elsewhere")
        self._record({})
        return {}

    def _found_record(self) -> dict[int, str] | str:
        """What :meth:`_record` has written; or, of a folder that is not empty, what is wrong."""
        data = self._to.find(self._record_key)
        if data is None:
            return "is not empty, and there is no record of what it holds"
        try:
            record: dict[str, Any] = json.loads(data)
            shards = {int(shard): str(state) for shard, state in record.pop("shards").items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return "is not empty, and the record of what it holds is damaged"
        return shards if record == self._what else "holds another export (another teacher, format or text)"

    def _record(self, shards: dict[int, str]) -> None:
        self._to.put(self._record_key, json.dumps(self._what | {"shards": shards}, indent=1).encode())

    def _state(self, shard: Shard) -> str:
        """Digest of what a shard's rows are made of: its texts and its parts' files."""
        return fingerprint([shard.sha256, *(self._targets.read_commit(part).sha256 for part in self._targets.parts(shard))])

    def _schema(self) -> pa.Schema:
        vector = pa.list_(pa.field("element", pa.float32()), self._dimensions)
        text = [("text", pa.string())] if self._with_text else []
        fields = [
            ("shard", pa.int32()),
            ("id", pa.string()),
            ("kind", pa.string()),
            *text,
            ("vector", vector),
            ("reason", pa.string()),
        ]
        return pa.schema(fields)

    def _batches(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        texts = read_shard(self._store, shard)
        for part in self._targets.parts(shard):
            yield self._batch(part, texts.slice(part.start, part.rows))

    def _batch(self, part: Part, texts: pa.Table) -> pa.RecordBatch:
        decoded = self._targets.read_part(part, texts["id"].to_pylist())
        values = pa.array(decoded.vectors.astype(np.float32).reshape(-1))
        columns = {name: texts[name].combine_chunks() for name in texts.column_names}
        columns["shard"] = pa.array(np.full(part.rows, part.shard.index, np.int32))
        columns["vector"] = pa.FixedSizeListArray.from_arrays(
            values, type=self._schema().field("vector").type, mask=pa.array(~decoded.valid)
        )
        columns["reason"] = pa.array(decoded.reasons, pa.string())
        schema = self._schema()
        return pa.record_batch([columns[name] for name in schema.names], schema=schema)
