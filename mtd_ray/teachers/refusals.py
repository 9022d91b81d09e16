"""What an answer other than 200 means: wait, ask again, split the request, or stop, and what a person is told."""

from __future__ import annotations

import httpx

from mtd_ray.teachers.base import AccountError, TeacherError
from mtd_ray.teachers.wire import Wire

_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_LONGEST_REASON = 300


class RefusedError(Exception):
    """The provider refuses this content (400, 413, 422): it must be split, or the text given up. Never leaves a teacher client."""


class Refusals:
    """Reads one provider's error answers.

    Args:
        teacher: its name in the recipe, for messages.
        url: what was asked.
        key: the key's reference, the only thing messages show of it.
        secret: the key itself, taken out of what the provider says should it repeat it.
        wire: reads error bodies, and knows which parameters the recipe decides: a refusal about one of them is no text's fault.
    """

    def __init__(self, teacher: str, url: str, *, key: str, secret: str, wire: Wire) -> None:
        self._teacher, self._url, self._key, self._secret, self._wire = teacher, url, key, secret, wire

    def __repr__(self) -> str:
        return f"Refusals({self._url!r}, key={self._key!r})"

    def require_account(self, response: httpx.Response) -> None:
        """Raise AccountError when a 429 is not about the rate but about money."""
        if self._wire.read_error(response.content).code in _OUT_OF_MONEY:
            raise AccountError(self._account_message(response))

    def require_repeatable(self, response: httpx.Response) -> None:
        """Raise unless the failure is the server's, and so may pass.

        Raises:
            RefusedError: the content is refused.
            AccountError, TeacherError: see their classes.
        """
        status = response.status_code
        if status in (401, 402, 403):
            raise AccountError(self._account_message(response))
        if status in (400, 413, 422):
            error = self._wire.read_error(response.content)
            if error.parameter in self._wire.parameters:
                raise TeacherError(
                    f"teacher {self._teacher}: the provider refuses the recipe's {error.parameter}: {self._clean(error.message)}"
                )
            raise RefusedError(self.describe(response))
        if status not in (408, 409, 425) and status < 500:
            raise TeacherError(
                f"teacher {self._teacher}: {self._url} answers {self.describe(response)}; "
                f"check teachers.{self._teacher}.base_url and model"
            )

    def describe(self, outcome: httpx.Response | httpx.RequestError) -> str:
        """One line about what went wrong."""
        if isinstance(outcome, httpx.RequestError):
            return f"{type(outcome).__name__}: {self._clean(str(outcome))}"
        return f"HTTP {outcome.status_code}: {self._clean(self._wire.read_error(outcome.content).message)}"

    def _account_message(self, response: httpx.Response) -> str:
        status, error = response.status_code, self._wire.read_error(response.content)
        if status == 401:
            # Providers repeat pieces of a wrong key in this message, so it is not passed on.
            return (
                f"teacher {self._teacher}: {self._url} refuses the key {self._key} (HTTP 401 {error.code}): "
                f"check that {self._key} holds a valid key of this provider"
            )
        what = "has no money or quota left" if status in (402, 429) else "may not use this model"
        detail = f"(HTTP {status} {error.code}): {self._clean(error.message)}"
        return f"teacher {self._teacher}: the account of key {self._key} {what} {detail}"

    def _clean(self, text: str) -> str:
        """One short line of a provider's text, without the key."""
        return " ".join(text.replace(self._secret, self._key).split())[:_LONGEST_REASON]
