"""Which licence governs a student learned from several sources: the most restrictive one.

The ranks order common identifiers (as the Hugging Face hub writes them); they are a reminder for the person who publishes, not
legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NON_COMMERCIAL = 5

# From least to most restrictive; a licence that fits none counts as terms of its own, which must be read.
_RANKS: tuple[tuple[int, re.Pattern[str]], ...] = (
    (NON_COMMERCIAL, re.compile(r"(^|-)nc(-|$)|non-?commercial|research")),
    (4, re.compile(r"(^|-)nd(-|$)|proprietary")),
    (2, re.compile(r"(^|-)sa(-|$)|^[al]?gpl|^mpl|^eupl|^odbl")),
    (1, re.compile(r"^cc-by-\d|^apache|^odc-by")),
    (0, re.compile(r"^mit|^bsd|^isc|^cc0|^unlicense|^wtfpl|^zlib|^0bsd|^pddl")),
)
_OWN_TERMS = 3


def restriction(license_id: str) -> int:
    """How much a licence restricts: 0 permissive, 1 attribution, 2 share-alike, 3 own terms, 4 no derivatives, 5 non-commercial."""
    name = license_id.strip().lower()
    return next((rank for rank, pattern in _RANKS if pattern.search(name)), _OWN_TERMS)


def most_restrictive(license_ids: Iterable[str]) -> str | None:
    """The licence that restricts most; the first of equals; None when there is none."""
    return max(license_ids, key=restriction, default=None)


# What the hub takes in a card's ``license``; others go into ``license_name``.
_HUB = re.compile(
    r"apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0|cc-by-2\.5|cc|[al]?gpl-[23]\.[01]|[al]?gpl|mpl-2\.0|eupl-1\.[12]|bsd"
    r"|bsd-[23]-clause|isc|unlicense|wtfpl|zlib|odbl|odc-by|pddl|afl-3\.0|artistic-2\.0|bsl-1\.0|openrail(\+\+)?|gemma|llama[2-4](\.\d)?"
)


def hub_license(license_id: str | None) -> tuple[str, str | None]:
    """A licence as a card's front matter states it: ``license``, and ``license_name`` for one that the hub has no word for."""
    if license_id is None:
        return "other", None
    name = license_id.strip().lower()
    return (name, None) if _HUB.fullmatch(name) else ("other", name)
