"""What every type of a recipe is made of: the frozen base, names and numbers, addresses, digests."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Kind = Literal["query", "passage", "sentence"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
Dimension = Annotated[int, Field(ge=1, le=65_536)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _is_http(value: str) -> str:
    if "@" in value or "?" in value or "#" in value:
        raise ValueError("an address holds no user, password, '?' or '#': keys are given by reference in their own place")
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not set(value) & set(" \t\n")
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("write it as http://host:port or https://host, with a path where the server wants one")
    return value


HttpUrl = Annotated[str, AfterValidator(_is_http)]


class Frozen(BaseModel):
    """Base of every recipe type: immutable, no coercion, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def fingerprint(value: Any) -> str:
    """Stable hex digest (sha256) of a JSON value; raises TypeError on anything JSON cannot hold exactly."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
