"""Readers: Parquet, JSON Lines and Hugging Face datasets as one stream of texts."""

from __future__ import annotations

import difflib
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, get_args

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.config import HuggingFaceSource, JsonlSource, Kind, ParquetSource
from mtd_ray.corpus.clean import RawText
from mtd_ray.corpus.files import SourceFile
from mtd_ray.errors import CorpusError

PARQUET_SUFFIXES = (".parquet",)
JSONL_SUFFIXES = (".jsonl", ".jsonl.gz")
_KINDS = get_args(Kind)
_BATCH_ROWS = 4096


def read_parquet(files: Iterable[SourceFile], source: ParquetSource) -> Iterator[RawText]:
    """Texts of Parquet files, a few thousand rows in memory at a time.

    Raises:
        CorpusError: a file is damaged, a column is missing or holds no text, or a kind is unknown; file and row are named.
    """
    columns = [column for column in (source.text_column, source.kind_column) if column]
    for file in files:
        for number, row in enumerate(read_columns(file, columns)):
            where = f"{file.name} row {number}"
            kind = source.kind if source.kind_column is None else _kind(row[1], where)
            yield RawText(row[0], kind, where)


def read_columns(file: SourceFile, columns: list[str]) -> Iterator[tuple[str | None, ...]]:
    """Rows of a Parquet file's text columns, in the order of ``columns``. CorpusError when that is not what it holds."""
    with file.local() as path:
        try:
            parquet = pq.ParquetFile(path)
            for column in columns:
                _check_column(parquet.schema_arrow, column, file.name)
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(dict.fromkeys(columns))):
                yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(f"{file.name} is not a readable Parquet file: {error}") from None
        except UnicodeDecodeError as error:
            raise CorpusError(f"{file.name} holds text that is not UTF-8: {error}") from None


def read_jsonl(files: Iterable[SourceFile], source: JsonlSource) -> Iterator[RawText]:
    """Texts of JSON Lines files, one line in memory at a time.

    Raises:
        CorpusError: a line is not UTF-8, no JSON object, lacks the text, or its text is no string; file and line are named.
    """
    for file in files:
        with file.local() as path, _open_lines(path) as lines:
            for where, row in _objects(lines, file.name):
                yield _from_row(row, source.text_column, source.kind_column, source.kind, where)


def read_huggingface(source: HuggingFaceSource) -> Iterator[RawText]:
    """Texts of a dataset of the hub (streamed) or of a folder written by ``Dataset.save_to_disk``.

    Raises:
        CorpusError: the ``datasets`` package, the dataset, the split or the column is missing, or a text is no string.
    """
    where = f"{source.path} [{source.split}]"
    for number, row in enumerate(_open_dataset(source)):
        yield _from_row(row, source.text_column, None, source.kind, f"{where} row {number}")


def _open_dataset(source: HuggingFaceSource) -> Iterable[dict[str, Any]]:
    try:
        import datasets
    except ImportError:
        raise CorpusError("a Hugging Face source needs the 'datasets' package: pip install 'mtd-ray[huggingface]'") from None
    try:
        if Path(source.path).is_dir():
            found = datasets.load_from_disk(source.path)
            return _split(found, source) if isinstance(found, datasets.DatasetDict) else found  # type: ignore[no-any-return]
        return datasets.load_dataset(  # type: ignore[no-any-return]
            source.path, source.name, split=source.split, revision=source.revision, streaming=True
        )
    except (OSError, ValueError) as error:
        raise CorpusError(f"dataset {source.path!r} cannot be opened: {error}") from None


def _split(splits: Any, source: HuggingFaceSource) -> Any:
    if source.split not in splits:
        raise CorpusError(f"dataset {source.path!r} has no split {source.split!r}; {_nearest(source.split, splits)}")
    return splits[source.split]


def _check_column(schema: pa.Schema, column: str, name: str) -> None:
    if column not in schema.names:
        raise CorpusError(f"{name} has no column {column!r}; {_nearest(column, schema.names)}")
    kind = schema.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise CorpusError(f"{name}: column {column!r} holds {kind}, not text")


def _open_lines(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _objects(lines: IO[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{name}:{number}", _object(line, f"{name}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{name} cannot be read after line {number}: {error}") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CorpusError(f"{where}: {_why_unreadable(line, error)}") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: a line must be a JSON object with the text under a key, this one is {type(row).__name__}")
    return row


def _why_unreadable(line: bytes, error: ValueError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: byte 0x{line[wrong.start]:02x} at position {wrong.start}; convert the file to UTF-8"
    return f"not valid JSON: {error}"


def _from_row(row: dict[str, Any], text_column: str, kind_column: str | None, kind: Kind, where: str) -> RawText:
    for column in (text_column, kind_column):
        if column is not None and column not in row:
            raise CorpusError(f"{where}: there is no {column!r}; {_nearest(column, row)}")
    text = row[text_column]
    if text is not None and not isinstance(text, str):
        raise CorpusError(f"{where}: {text_column!r} is {type(text).__name__}, not text")
    return RawText(text, kind if kind_column is None else _kind(row[kind_column], where), where)


def _kind(value: Any, where: str) -> Kind:
    if value not in _KINDS:
        raise CorpusError(f"{where}: kind {value!r} is not one of {', '.join(_KINDS)}")
    return value  # type: ignore[no-any-return]


def _nearest(wanted: str, known: Iterable[str]) -> str:
    names = [str(name) for name in known]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}It has {', '.join(names) or 'none'}"
