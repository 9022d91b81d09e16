"""The provider's URL and key, checked before anything is sent."""

from __future__ import annotations

import httpx

from mtd_ray.config import resolve_secret
from mtd_ray.errors import RecipeError
from mtd_ray.teachers.base import TeacherError


def split_url(url: str, teacher: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its ``user:password@``, and these two.

    Raises:
        TeacherError: it is no URL. The message does not quote it: what is malformed may well be its password.
    """
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")  # what the connection would fail at, outside of the HTTP library's errors
    except (httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 80) >= 2**16:
        raise TeacherError(f"teachers.{teacher}.base_url is no URL; it should look like https://api.example.com/v1")
    return str(parsed.copy_with(userinfo=b"")), (parsed.username, parsed.password) if parsed.userinfo else None


def header_safe_key(reference: str) -> str:
    """The key, checked here because a header it does not fit would be quoted, value and all, in the HTTP library's error.

    Raises:
        RecipeError: the reference leads nowhere, or what it leads to cannot be a key.
    """
    key = resolve_secret(reference).strip()
    if not key:
        raise RecipeError(f"secret {reference} is blank; store the provider's key there")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise RecipeError(f"secret {reference} holds characters that no API key has (a space, a line break, a non-ASCII letter)")
    return key
