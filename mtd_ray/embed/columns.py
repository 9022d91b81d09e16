"""The columns that come back, of one type each through a whole file: JSON Lines promise none.

A field whose values differ in type comes back as text: strings as they are, all else as JSON. Numbers with and without a
fraction come back as float64 where that holds them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa


class UnfitError(Exception):
    """Values of the column ``name`` cannot be brought to the type that they should have."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def json_column(values: Sequence[Any]) -> pa.Array:
    """A field's values of some lines. An empty object, which Parquet cannot hold, is null."""
    try:
        return pa.array([_held(value) for value in values])
    except (pa.ArrowException, OverflowError):
        return _text(values)


def same_schema(one: pa.Schema | None, other: pa.Schema) -> pa.Schema:
    """A schema that holds the columns of both: of JSON Lines, a batch only shows those that its rows have."""
    if one is None or one.equals(other):
        return other
    for field in other:
        place = one.get_field_index(field.name)
        one = one.append(field) if place < 0 else one.set(place, _same_field(one.field(place), field))
    return one


def with_text(schema: pa.Schema, name: str) -> pa.Schema:
    """The schema, with this column as text."""
    return schema.set(schema.get_field_index(name), pa.field(name, pa.string()))


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A batch as its whole file has it; columns that it did not have are all null.

    Raises:
        UnfitError: a number has too many digits for a float64.
    """
    if table.schema.equals(schema):
        return table
    return pa.table([_as_field(table, field) for field in schema], schema=schema)


def _held(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _held(inner) for name, inner in value.items()} or None
    return [_held(inner) for inner in value] if isinstance(value, list) else value


def _text(values: Sequence[Any]) -> pa.Array:
    return pa.array([value if isinstance(value, str | None) else orjson.dumps(value).decode() for value in values], pa.string())


def _same_field(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.equals(other):
        return one
    try:
        return pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive").field(0)
    except pa.ArrowException:
        return pa.field(one.name, pa.string())


def _as_field(table: pa.Table, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    column = table[field.name]
    if pa.types.is_string(field.type) and not pa.types.is_string(column.type):
        return _text(column.to_pylist())
    try:
        return column.cast(field.type)
    except pa.ArrowException:
        raise UnfitError(field.name) from None
