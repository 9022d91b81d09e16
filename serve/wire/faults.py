"""Why a request is not answered, in the form that each API's clients understand."""

from __future__ import annotations

from math import ceil

import orjson

# As text-embeddings-inference's router has them (router/src/http/server.rs). What cannot be read as a request never gets that far
# there: it is answered with 422.
_TEI_TYPES = {429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Backend"}
_TEI_STATUSES = {400: 413, 500: 424}
_TEI_CODES = {
    "empty_input": (400, "Empty"),
    "foreign_token_ids": (422, "Tokenizer"),
    "token_ids_refused": (422, "Tokenizer"),
    "invalid_json": (422, "Validation"),
    "invalid_value": (422, "Validation"),
    "missing_required_parameter": (422, "Validation"),
    "unknown_parameter": (422, "Validation"),
    "unknown_token_id": (422, "Tokenizer"),
}
_QUOTED_CHARACTERS = 80


class ApiError(Exception):
    """A request that cannot be answered.

    Attributes:
        message: what was wrong and what would be right.
        status: HTTP status.
        param: the field at fault.
        code: a name that programs can compare.
        retry_after_s: when asking again has a chance, in seconds.
        final: asking again gives the same, whatever the status lets expect.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.retry_after_s, self.final = retry_after_s, final

    @property
    def body(self) -> bytes:
        """The JSON answer as OpenAI's API gives it."""
        fault = {"message": _sendable(self.message), "type": self._type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": fault})

    @property
    def tei_body(self) -> bytes:
        """The JSON answer as text-embeddings-inference gives it."""
        return orjson.dumps({"error": _sendable(self.message), "error_type": self._tei[1]})

    @property
    def tei_status(self) -> int:
        """The HTTP status in text-embeddings-inference: 413 for what is wrong with a request, 424 when the model fails on it."""
        return self._tei[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the answer's head says beside the status; OpenAI's clients read the milliseconds, others the seconds.

        OpenAI's clients ask again after every status from 500 on unless they are told not to.
        """
        if self.final:
            return [(b"x-should-retry", b"false")]
        if self.status == 401:
            return [(b"www-authenticate", b"Bearer")]
        if self.retry_after_s is None:
            return []
        milliseconds = max(1, ceil(self.retry_after_s * 1000))
        return [(b"retry-after", b"%d" % ceil(milliseconds / 1000)), (b"retry-after-ms", b"%d" % milliseconds)]

    @property
    def _tei(self) -> tuple[int, str]:
        usual = _TEI_STATUSES.get(self.status, self.status), _TEI_TYPES.get(self.status, "Validation")
        return _TEI_CODES.get(self.code or "", usual)

    @property
    def _type(self) -> str:
        if self.status >= 500:
            return "server_error"
        return "rate_limit_error" if self.status == 429 else "invalid_request_error"


def quoted(value: object) -> str:
    """A client's value as a message may repeat it: in quotation marks, and short whatever was sent."""
    text = repr(value if not isinstance(value, str) else value[: _QUOTED_CHARACTERS + 1])
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"


def _sendable(text: str) -> str:
    return text.encode(errors="replace").decode()
