"""A Parquet column whose values stand in the file as they do in memory, found without decoding it.

That is so for a column of fixed-size values without nulls, neither compressed nor encoded, that has all of them in one page. The
page is a small Thrift struct, then the values. Format: https://parquet.apache.org/docs/file-format/data-pages/
"""

from __future__ import annotations

import pyarrow.parquet as pq

_DATA_PAGE = 0
_NEXT_FIELD_IS_I32 = 0x15  # Thrift compact protocol: the field number is one up, its type is i32
_LONGEST_HEADER = 64


def plain_values(file: pq.ParquetFile, name: str, data: memoryview) -> memoryview | None:
    """The bytes of a fixed-size column's values, a view of ``data``; None when they do not stand there in one piece.

    Args:
        data: the whole file.
    """
    column = file.metadata.schema.names.index(name)
    described = file.metadata.schema.column(column)
    if file.metadata.num_row_groups != 1 or described.max_definition_level or described.max_repetition_level:
        return None
    chunk = file.metadata.row_group(0).column(column)
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page or not set(chunk.encodings) <= {"PLAIN", "RLE"}:
        return None
    end = chunk.data_page_offset + chunk.total_compressed_size
    size = file.metadata.num_rows * described.length
    header = _page_header(bytes(data[chunk.data_page_offset : chunk.data_page_offset + _LONGEST_HEADER]))
    # Type and both sizes; a page as large as all the values is the only one.
    return data[end - size : end] if header == (_DATA_PAGE, size, size) else None


def _page_header(data: bytes) -> tuple[int, ...]:
    """The first three fields of a page header: its type, its size before and after compression."""
    values: list[int] = []
    place = 0
    while len(values) < 3 and place < len(data) and data[place] == _NEXT_FIELD_IS_I32:
        number, place = _varint(data, place + 1)
        values.append((number >> 1) ^ -(number & 1))
    return tuple(values)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The number that starts at a place, seven bits a byte, and the place after it."""
    number = shift = 0
    while place < len(data):
        number |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 0x80:
            break
    return number, place
