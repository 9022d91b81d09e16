"""What a service takes on, and how much of it is under way."""

from __future__ import annotations

from dataclasses import dataclass

# Requests that a replica takes in hand; what they are may be little or much, which is what the limits are about.
MAX_REQUESTS = 8_192


@dataclass(frozen=True)
class Limits:
    """Bounds of one replica. Whatever is beyond them is refused at once.

    Attributes:
        max_inputs: texts of one request.
        max_request_tokens: tokens of one request, prompts and special tokens included.
        max_body_bytes: length of a request's body.
        max_queued_tokens: tokens that may wait; None for what can be computed within the deadline at the measured rate.
        deadline_s: how long a request may take.
    """

    max_inputs: int = 2_048
    max_request_tokens: int = 300_000
    max_body_bytes: int = 8 * 1024 * 1024
    max_queued_tokens: int | None = None
    deadline_s: float = 30.0


@dataclass(frozen=True)
class Load:
    """What is under way at this moment.

    Attributes:
        queued_tokens: of texts that wait for the model, those still being tokenised included (estimated from their length).
        running_tokens: of the texts in the forward pass.
        tokens_per_s: tokens that the model computes in a second when it has enough to do; 0 before the first pass.
    """

    queued_tokens: int
    running_tokens: int
    tokens_per_s: float
