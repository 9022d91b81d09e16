"""What both APIs' requests have in common: how texts are given, and how a body is read."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, PlainValidator, ValidationError, WithJsonSchema

from serve.wire.faults import ApiError, quoted

Row = str | list[int]
Asked = TypeVar("Asked", bound=BaseModel)

_FORMS = "must be a string, a list of strings, a list of token ids, or a list of such lists"
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_SCHEMA = {
    "title": "Texts",
    "description": "A text, a list of texts, the token ids of a text, or a list of such lists.",
    "anyOf": [_TEXT, {"type": "array", "items": {"anyOf": [_TEXT, _IDS]}, "minItems": 1}, _IDS],
}
_NAME_END = re.compile(rb'"[ \t\r\n]*+:')


def _rows(given: Any) -> list[Row]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise ValueError(_FORMS)
    kinds = set(map(type, given))
    if kinds == {int}:
        return [_ids(given)]
    if not kinds <= {str, list}:
        raise ValueError(_FORMS)
    if list in kinds:
        for row in given:
            if isinstance(row, list):
                _ids(row)
    return given


def _ids(row: list[Any]) -> list[int]:
    # By type, as true and false are no ids; the functions of C take a tenth of the time of a loop.
    if row and (set(map(type, row)) != {int} or min(row) < 0):
        raise ValueError(_FORMS)
    return row


Rows = Annotated[list[Row], PlainValidator(_rows), WithJsonSchema(_SCHEMA)]
"""One entry per vector asked for: a text, or a text's token ids. Empty ones are left for the engine to refuse."""


def read(form: type[Asked], body: bytes) -> Asked:
    """A request from its body.

    Raises:
        ApiError: naming the first field at fault and what it may hold.
    """
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError("the body is not a JSON object with fields", code="invalid_json")
    for name in fields:
        if name not in form.model_fields:
            known = ", ".join(form.model_fields)
            raise ApiError(f"unknown field {quoted(name)}; known fields: {known}", param=name[:80], code="unknown_parameter")
    try:
        asked = form.model_validate(fields)
    except ValidationError as error:
        raise _explained(error) from None
    if _names(body, len(fields)) != len(fields):
        raise ApiError("the body names a field twice; which of the two values is meant cannot be known", code="invalid_json")
    return asked


def _names(body: bytes, expected: int) -> int:
    """How many names a valid body of ``expected`` different ones has; only its outermost level has any."""
    # What looks like the end of a name is one, or stands in a text: there are never fewer than names.
    if len(_NAME_END.findall(body)) == expected:
        return expected
    return int(json.loads(body, object_pairs_hook=len))


def _explained(error: ValidationError) -> ApiError:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    given = str(fault["loc"][0])
    if fault["type"] == "missing":
        return ApiError(f"the field {given!r} is required", param=given, code="missing_required_parameter")
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return ApiError(f"{given!r} {said}", param=given, code="invalid_value")
