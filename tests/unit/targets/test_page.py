"""Columns that can be looked at where they stand in a Parquet file, and those that cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.targets.page import plain_values

PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False}
ONE_PAGE = PLAIN | {"data_page_size": 1 << 30}


def _written(rows: int, width: int, *, nullable: bool = False, **options: Any) -> tuple[bytes, bytes]:
    """A file with such a column after another one, and the column's bytes."""
    values = np.random.default_rng(rows).bytes(rows * width)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(values)])
    schema = pa.schema([("id", pa.int64()), pa.field("vector", column.type, nullable=nullable)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays([pa.array(range(rows)), column], schema=schema), sink, **options)
    return sink.getvalue().to_pybytes(), values


def _found(data: bytes) -> memoryview | None:
    return plain_values(pq.ParquetFile(pa.BufferReader(data)), "vector", memoryview(data))


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 2), (7, 64), (100, 24), (2500, 768), (3, 60_000)])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_one_plain_page_is_found_byte_for_byte(rows: int, width: int, version: str) -> None:
    data, values = _written(rows, width, data_page_version=version, **ONE_PAGE)
    found = _found(data)
    # Pages of the second version are another type of page: not looked at, which costs a copy and no more.
    assert found == (values if version == "1.0" else None)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd", "use_dictionary": False},
        {"compression": "none", "use_dictionary": True},
        PLAIN | {"row_group_size": 50},
        PLAIN | {"write_batch_size": 10, "data_page_size": 100},
        ONE_PAGE | {"nullable": True},
        {"compression": "none", "use_dictionary": False, "column_encoding": {"vector": "BYTE_STREAM_SPLIT", "id": "PLAIN"}},
    ],
)
def test_a_column_stored_in_another_way_is_not_mistaken_for_one(options: dict[str, Any]) -> None:
    data, _ = _written(100, 24, **options)
    assert _found(data) is None
