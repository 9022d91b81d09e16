"""The two tables that targets are exported to. In both a shard is replaced as a whole: readers see its old rows or its new ones."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.errors import MtdError, StorageError
from mtd_ray.object_client import first_line, table_options
from mtd_ray.objects import ObjectStore

# Half of the bits of a float32 that was a float16 are zero, so compressing is worth while, at the quickest level.
_COMPRESSION: Any = {"compression": "zstd", "compression_level": 1}
_ROW_GROUP_BYTES = 64 * 1024 * 1024


class ParquetTable:
    """A folder of Parquet files, ``shard-00000.parquet`` and so on; a row group per batch."""

    def __init__(self, to: ObjectStore, name: str) -> None:
        self._to, self._name = to, name

    def shards(self) -> dict[int, bool]:
        """Shards that have rows in the table → whether all their files are there."""
        names = (re.search(r"/shard-(\d{5,})\.parquet$", info.key) for info in self._to.list(self._name))
        return {int(name[1]): True for name in names if name}

    def write(self, shard: int, batches: pa.RecordBatchReader) -> None:
        """Put a shard's rows in, in place of those it had. They pass through a local file: object stores take a file whole."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "shard.parquet"
            with pq.ParquetWriter(path, batches.schema, use_dictionary=False, write_statistics=["id"], **_COMPRESSION) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            self._to.upload(path, self._key(shard))

    def remove(self, shard: int) -> None:
        """Take a shard's rows out."""
        self._to.delete(self._key(shard))

    def _key(self, shard: int) -> str:
        return f"{self._name}/shard-{shard:05d}.parquet"


class DeltaTable:
    """A Delta table partitioned by ``shard`` (https://github.com/delta-io/delta/blob/master/PROTOCOL.md).

    Raises:
        MtdError: the ``deltalake`` package is not installed.
    """

    def __init__(self, to: ObjectStore, name: str) -> None:
        try:
            import deltalake
        except ImportError:
            raise MtdError("a Delta table needs the 'deltalake' package: pip install 'mtd-ray[delta]'") from None
        self._deltalake = deltalake
        self._to, self._name, self._url = to, name, f"{to.url}/{name}"

    def shards(self) -> dict[int, bool]:
        """Shards that have rows in the table → whether all their files are there."""
        files = self._called("read", self._files)
        there = {info.key for info in self._to.list(self._name)} if files else set()
        shards: dict[int, bool] = {}
        for shard, path in files:
            shards[shard] = shards.get(shard, True) and f"{self._name}/{path}" in there
        return shards

    def _files(self) -> list[tuple[int, str]]:
        """Shard and path of each data file of the table, as its log has them."""
        if not self._deltalake.DeltaTable.is_deltatable(self._url, self._options()):
            return []
        files = pa.table(self._open().get_add_actions(flatten=True))
        return list(zip(files["partition.shard"].to_pylist(), files["path"].to_pylist(), strict=True))

    def write(self, shard: int, batches: pa.RecordBatchReader) -> None:
        """Put a shard's rows in, in place of those it had."""
        place = batches.schema.get_field_index("vector")
        vector = batches.schema.types[place]
        # Delta has no lists of fixed size, and some readers refuse files that say more than the table's schema.
        schema = batches.schema.set(place, pa.field("vector", pa.list_(vector.value_field)))
        properties = self._deltalake.WriterProperties(
            compression="ZSTD",
            compression_level=_COMPRESSION["compression_level"],
            max_row_group_size=max(1, _ROW_GROUP_BYTES // (4 * vector.list_size)),
        )
        replaced = {"mode": "overwrite", "predicate": f"shard = {shard}", "partition_by": ["shard"]}
        failures: list[BaseException] = []
        reader = pa.RecordBatchReader.from_batches(schema, _cast(batches, schema, failures))
        try:
            self._called(
                "write",
                lambda: self._deltalake.write_deltalake(
                    self._url,
                    reader,
                    **replaced,
                    target_file_size=1 << 40,
                    writer_properties=properties,
                    storage_options=self._options(),
                ),
            )
        except StorageError:
            if failures:
                raise failures[0] from None
            raise

    def remove(self, shard: int) -> None:
        """Take a shard's rows out."""
        self._called("write", lambda: self._open().delete(f"shard = {shard}"))

    def _open(self) -> Any:
        return self._deltalake.DeltaTable(self._url, storage_options=self._options())

    def _options(self) -> dict[str, str]:
        # Asked for at each write: credentials of a role are good for an hour.
        return table_options(self._to.url, self._to.endpoint, self._to.region)

    def _called(self, verb: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (self._deltalake.exceptions.DeltaError, OSError) as error:
            raise StorageError(f"cannot {verb} the Delta table {self._url}: {first_line(error)}") from None


def _cast(batches: pa.RecordBatchReader, schema: pa.Schema, failures: list[BaseException]) -> Iterator[pa.RecordBatch]:
    """The batches with another schema. An error goes into ``failures``: the library that reads them would make it its own."""
    try:
        yield from (batch.cast(schema) for batch in batches)
    except BaseException as error:
        failures.append(error)
        raise
