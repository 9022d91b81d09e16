"""What those who run the service ask: does it work, and how much has it to do."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serve.engine.engine import Engine

METRICS_TYPE = CONTENT_TYPE_LATEST
_TIMEOUT_S = 10.0


async def health_of(engine: Engine) -> dict[str, str]:
    """``GET /health``: a text has just gone through the model.

    Raises:
        ApiError: (503) it did not come back in time, or wrong.
    """
    await engine.check_alive(_TIMEOUT_S)
    return {"status": "ok"}


def metrics_of(engine: Engine) -> bytes:
    """``GET /metrics`` in Prometheus' text format."""
    return generate_latest(engine.metrics.registry)
