"""The Parquet files of a task: in a folder or below an ``s3://`` prefix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.config.nearest import nearest
from mtd_ray.corpus.files import SourceFile, find_files
from mtd_ray.digests import sha256_of
from mtd_ray.errors import CorpusError, EvaluationError

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_SUFFIX = ".parquet"
# Hugging Face writes a table as test-00000-of-00003.parquet or test/0000.parquet, the default one below data/.
_NUMBER = re.compile(r"(-\d+-of-\d+|/\d+)$")
_OF = re.compile(r"-of-(\d+)$")


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
        """Of some tables' files: their names and their content.

        The content is the sha256 of all bytes; of an object its size and what the store calls its content (the ETag of its
        listing), so that nothing is downloaded. The same files are therefore other data when they are moved to a store.

        Raises:
            EvaluationError: a table's files do not belong together.
        """
        files = [(name, file) for name in sorted(set(names)) for file in self._files(name)]
        on_disk = [file for _, file in files if file.etag is None]
        found = dict(zip(on_disk, _sha256_of(on_disk), strict=True))
        total = hashlib.sha256()
        for name, file in files:
            total.update(f"{name}\0{found.get(file, f'{file.etag} {file.size}')}\n".encode())
        return total.hexdigest()

    def columns(self, name: str) -> list[str]:
        """What a table's columns are called. EvaluationError when its first file is damaged."""
        file = self._files(name)[0]
        with file.local() as path:
            try:
                return list(pq.read_schema(path).names)
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(file, error) from None

    def require_columns(self, name: str, wanted: Iterable[str]) -> None:
        """EvaluationError when a table does not have one of these columns."""
        there = self.columns(name)
        for column in wanted:
            if column not in there:
                raise EvaluationError(f"{self.where}: {name} has no column {column!r}; {nearest(column, there)}")

    def read(self, name: str, columns: Collection[str] | None = None) -> pa.Table:
        """A table's rows, in memory; with ``columns`` only these, those that are not there left out.

        Raises:
            EvaluationError: a file is damaged, the table's files do not belong together, or they have other columns than the
                first one or columns of types that have none in common.
        """
        files = self._files(name)
        parts = [_read(file, columns) for file in files]
        for file, part in zip(files, parts, strict=True):
            if differing := set(part.column_names) ^ set(parts[0].column_names):
                raise EvaluationError(
                    f"{file.name} and {files[0].name} are one table, but column {min(differing)!r} is in one only"
                )
        try:
            return pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException as error:
            raise EvaluationError(f"{self.where}: the files of {name} are one table, but {error}") from None

    def _files(self, name: str) -> tuple[SourceFile, ...]:
        """A table's files, if it is there once, and whole."""
        files = self.tables[name]
        spellings = {_spelling(file): file for file in files}
        if len(spellings) > 1:
            first, second = sorted(file.name for file in spellings.values())[:2]
            raise EvaluationError(f"{self.where}: {first} and {second} are both the table {name}: remove one of them")
        counted = _OF.search(next(iter(spellings)))
        if counted is not None and int(counted[1]) != len(files):
            raise EvaluationError(f"{self.where}: {len(files)} of {int(counted[1])} files of {name} are there")
        return files


def _tables(path: str, files: Iterable[SourceFile]) -> dict[str, tuple[SourceFile, ...]]:
    tables: dict[str, tuple[SourceFile, ...]] = {}
    for file in files:
        relative = file.name.removeprefix(path.rstrip("/")).lstrip("/").removesuffix(_SUFFIX)
        name = _NUMBER.sub("", relative).removeprefix("data/")
        tables[name] = (*tables.get(name, ()), file)
    return tables


def _spelling(file: SourceFile) -> str:
    """A file's name without its own number: the same for all files of one table."""
    return re.sub(r"-\d+(-of-\d+)$|/\d+$", r"\1", file.name.removesuffix(_SUFFIX))


def _sha256_of(files: Sequence[SourceFile]) -> list[str]:
    with ExitStack() as stack:
        return sha256_of([stack.enter_context(file.local()) for file in files])


def _read(file: SourceFile, columns: Collection[str] | None) -> pa.Table:
    with file.local() as path:
        try:
            parquet = pq.ParquetFile(path)
            wanted = None if columns is None else [name for name in parquet.schema_arrow.names if name in columns]
            return parquet.read(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from None


def _unreadable(file: SourceFile, error: Exception) -> EvaluationError:
    return EvaluationError(f"{file.name} is not a readable Parquet file: {error}")
