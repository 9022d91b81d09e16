"""Names of models: as mteb's leaderboard wants them, and fit for a key."""

from __future__ import annotations

import hashlib
import re

_PUBLISHED = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_.-]+")
_DIGEST_LETTERS = 8


def published_name(model: str, organization: str) -> str:
    """``organization/model``: a hub name as it is, anything else by its last part under ``organization``."""
    return model if _PUBLISHED.match(model) else f"{organization}/{key_of(model.rstrip('/').rpartition('/')[2])}"


def key_of(name: str) -> str:
    """The name with nothing but letters, digits and ``_ . -``; names that differ in anything else get different digests."""
    plain = _NOT_IN_KEYS.sub("-", name).strip("-.")
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LETTERS]}"
