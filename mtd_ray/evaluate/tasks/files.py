"""The Parquet files of a task: in a folder or below an ``s3://`` prefix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.config.nearest import nearest
from mtd_ray.corpus.files import SourceFile, find_files
from mtd_ray.errors import CorpusError, EvaluationError

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_SUFFIX = ".parquet"
# Hugging Face writes a table as test-00000-of-00003.parquet or test/0000.parquet, the default one below data/.
_NUMBER = re.compile(r"(-\d+-of-\d+|/\d+)$")


@dataclass(frozen=True)
class TaskFiles:
    """What lies in a task's folder.

    Attributes:
        where: the folder, as a message names it.
        tables: name of a table (``test``, ``corpus``, ``en/test``) → its files, in their order.
    """

    where: str
    tables: Mapping[str, tuple[SourceFile, ...]]

    @classmethod
    def at(cls, path: str, storage: ObjectStore) -> TaskFiles:
        """The files of one folder or prefix; ``s3://`` is read with the endpoint and region of ``storage``.

        Raises:
            EvaluationError: there is no such folder, or it holds no Parquet file.
            StorageError: the object store cannot be reached or refuses.
        """
        try:
            return cls(path, _tables(path, find_files(path, (_SUFFIX,), storage)))
        except CorpusError as error:
            raise EvaluationError(f"data of an evaluation task: {error}") from None

    def first(self, names: Iterable[str]) -> str | None:
        """The first of these tables that is there."""
        return next((name for name in names if name in self.tables), None)

    def require(self, names: Sequence[str], what: str) -> str:
        """The first of these tables that is there.

        Raises:
            EvaluationError: none is; ``what`` tells which file is meant, and what it should hold.
        """
        found = self.first(names)
        if found is None:
            raise EvaluationError(f"{self.where} holds no {what}; {nearest(names[0], self.tables)}")
        return found

    def digest(self, names: Iterable[str]) -> str:
        """sha256 of some tables' files: their names and all their bytes. An object is downloaded for it."""
        total = hashlib.sha256()
        for name in sorted(set(names)):
            for file in self.tables[name]:
                with file.local() as path, path.open("rb") as data:
                    total.update(f"{name}\0{hashlib.file_digest(data, 'sha256').hexdigest()}\n".encode())
        return total.hexdigest()

    def columns(self, name: str) -> list[str]:
        """What a table's columns are called."""
        with self.tables[name][0].local() as path:
            return list(pq.read_schema(path).names)

    def read(self, name: str, columns: Collection[str] | None = None) -> pa.Table:
        """A table's rows, in memory; with ``columns`` only these, those that are not there left out.

        Raises:
            EvaluationError: a file is damaged, or its columns are of other types than the first one's.
        """
        return pa.concat_tables([_read(file, columns) for file in self.tables[name]])


def _tables(path: str, files: Iterable[SourceFile]) -> dict[str, tuple[SourceFile, ...]]:
    tables: dict[str, tuple[SourceFile, ...]] = {}
    for file in files:
        relative = file.name.removeprefix(path.rstrip("/")).lstrip("/").removesuffix(_SUFFIX)
        name = _NUMBER.sub("", relative).removeprefix("data/")
        tables[name] = (*tables.get(name, ()), file)
    return tables


def _read(file: SourceFile, columns: Collection[str] | None) -> pa.Table:
    with file.local() as path:
        try:
            parquet = pq.ParquetFile(path)
            wanted = None if columns is None else [name for name in parquet.schema_arrow.names if name in columns]
            return parquet.read(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            raise EvaluationError(f"{file.name} is not a readable Parquet file: {error}") from None
