"""API keys: who may ask."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from hashlib import sha256
from hmac import compare_digest
from time import monotonic

from mtd_ray.config.secret import resolve_secret
from mtd_ray.errors import MtdError
from serve.wire.faults import ApiError

_LOG = logging.getLogger(__name__)
_SHORTEST = 16
_ASK_AWS_EVERY_S = 300.0
_NAME_CHARACTERS = 8
Headers = Iterable[tuple[bytes, bytes]]


class Keys:
    """The keys that are let in. Only their digests are held, and no representation of this shows more than how many there are.

    Args:
        keys: at least one, each of at least 16 characters without white space.
        reference: of the secret that they are from.
        clock: seconds that only grow.

    Raises:
        MtdError: there is none, or one is too short or not of printable ASCII characters.
    """

    def __init__(self, keys: Iterable[str], *, reference: str = "", clock: Callable[[], float] = monotonic) -> None:
        self._digests = _digests(keys)
        self._reference, self._clock = reference, clock
        self._read_at, self._fault = clock(), ""

    @classmethod
    def resolve(cls, reference: str, *, clock: Callable[[], float] = monotonic) -> Keys:
        """Read the keys a secret reference points at, one a line; several let a key be replaced while clients change over.

        Raises:
            MtdError: the secret is missing, or a key in it is too short.
        """
        return cls(_lines(reference), reference=reference, clock=clock)

    def renew(self) -> None:
        """Read the secret again, if it may have changed: a file at each call, AWS's at most every five minutes, a variable never.

        One that is missing or wrong by now is told in the log, and the keys stay as they were.
        """
        every_s = {"file": 0.0, "aws-sm": _ASK_AWS_EVERY_S}.get(self._reference.partition(":")[0])
        if every_s is None or self._clock() - self._read_at < every_s:
            return
        self._read_at, fault = self._clock(), ""
        try:
            self._digests = _digests(_lines(self._reference))
        except MtdError as error:
            fault = str(error)
        if fault not in ("", self._fault):
            _LOG.error("the API keys stay as they were: %s", fault)
        self._fault = fault

    def owner(self, headers: Headers) -> str:
        """Who asks, by a name of the key that tells nothing of it.

        Every key is compared in full, so that the time taken says nothing about any of them.

        Args:
            headers: of the request, names in lower case. The key is in ``Authorization: Bearer``, ``api-key`` or ``x-api-key``.

        Raises:
            ApiError: (401) there is no key, or it is none of these.
        """
        given = _given(headers)
        if not given:
            raise ApiError(
                "this server needs an API key; send it as 'Authorization: Bearer KEY'", status=401, code="invalid_api_key"
            )
        digest = sha256(given).digest()
        if not sum([compare_digest(digest, known) for known in self._digests]):
            raise ApiError("the API key is not one of this server's", status=401, code="invalid_api_key")
        return digest.hex()[:_NAME_CHARACTERS]

    def __repr__(self) -> str:
        return f"Keys({len(self._digests)})"


def _lines(reference: str) -> list[str]:
    return [line.strip() for line in resolve_secret(reference).splitlines() if line.strip()]


def _digests(keys: Iterable[str]) -> list[bytes]:
    digests = [sha256(_checked(number, key)).digest() for number, key in enumerate(keys, start=1)]
    if not digests:
        raise MtdError("there is no API key: put at least one into the secret, one a line")
    return digests


def _checked(number: int, key: str) -> bytes:
    if len(key) < _SHORTEST or not (key.isascii() and key.isprintable()) or " " in key:
        raise MtdError(
            f"API key {number} has to be at least {_SHORTEST} printable ASCII characters without spaces, such as "
            "`openssl rand -hex 32` gives"
        )
    return key.encode()


def _given(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return key.strip()
        if name in (b"api-key", b"x-api-key"):
            return value.strip()
    return b""
