"""Which licence governs a student learned from several sources: the most restrictive one.

The ranks order common identifiers (as the Hugging Face hub writes them); they are a reminder for the person who publishes, not
legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NON_COMMERCIAL = 5

# The first that fits, of a name in :func:`_plain`; a licence that fits none counts as terms of its own, which must be read.
_RANKS: tuple[tuple[int, re.Pattern[str]], ...] = (
    (
        NON_COMMERCIAL,
        re.compile(
            r"(^|-|by)nc(?![a-z])|no[nt]?-?(for-)?commercial|research|academic(?!-free)|personal|(evaluation|educational)-(use|only)"
            r"|^apple-amlr|^deepfloyd-if"
        ),
    ),
    (4, re.compile(r"(^|-)nd(?![a-z])|no-?deriv|proprietary")),
    (2, re.compile(r"(^|-)sa(?![a-z])|share-?alike|^[al]?gpl|^mpl|^eupl|^odbl")),
    (1, re.compile(r"^cc-?by(-?v?\d|$)|^apache|^odc-by")),
    (0, re.compile(r"^mit|^bsd|^isc|^cc0|^unlicense|^wtfpl|^zlib|^0bsd|^pddl")),
)
_OWN_TERMS = 3


def restriction(license_id: str) -> int:
    """How much a licence restricts: 0 permissive, 1 attribution, 2 share-alike, 3 own terms, 4 no derivatives, 5 non-commercial.

    Args:
        license_id: in any ordinary spelling: ``cc-by-nc-4.0``, ``CC BY-NC 4.0``, ``non commercial``.
    """
    name = _plain(license_id)
    return next((rank for rank, pattern in _RANKS if pattern.search(name)), _OWN_TERMS)


def most_restrictive(license_ids: Iterable[str]) -> str | None:
    """The licence that restricts most; the first of equals; None when there is none."""
    return max(license_ids, key=restriction, default=None)


# What the hub takes in a card's ``license`` (huggingface.co/docs/hub/repositories-licenses); others go into ``license_name``.
_HUB = frozenset(
    (
        "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigcode-openrail-m", "bigscience-bloom-rail-1.0",
        "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc",
        "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
        "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m",
        "deepfloyd-if-license", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gemma", "gfdl", "gpl",
        "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "llama2", "llama3", "llama3.1", "llama3.2",
        "llama3.3", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openrail", "openrail++",
        "osl-3.0", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
    )
)  # fmt: skip

# ``mteb.types.Licenses``, but the names that only mteb has.
_MTEB = frozenset(
    (
        "afl-3.0", "apache-2.0", "bsd-3-clause", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
        "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
        "cdla-sharing-1.0", "eupl-1.2", "gemma", "gpl-3.0", "lgpl", "lgpl-3.0", "mit", "mpl-2.0", "odc-by", "openrail",
        "openrail++",
    )
)  # fmt: skip


def hub_license(license_id: str | None) -> tuple[str, str | None]:
    """A licence as a card's front matter states it: ``license``, and ``license_name`` for one that the hub has no word for.

    Names are written as the hub writes them: ``CC BY-NC 4.0`` as ``cc-by-nc-4.0``, ``Our Terms!`` as ``our-terms``.
    """
    if license_id is None:
        return "other", None
    name = _plain(license_id)
    return (name, None) if name in _HUB else ("other", name.replace("+", "") or None)


def mteb_license(license_id: str | None) -> str | None:
    """A licence as mteb names it; None for one that it has no name for."""
    name = _plain(license_id or "")
    return name if name in _MTEB else None


def _plain(license_id: str) -> str:
    """A licence's name in small letters, digits, dots and plus signs, with single hyphens between words."""
    return re.sub(r"[^a-z0-9.+]+", "-", license_id.lower()).strip("-.")
