"""How a sandbox provider's account is set up."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_quota import Limit, QuotaChange


class ProviderSettings(BaseModel):
    """One account.

    ``inputs_per_minute`` None does not limit the inputs (texts). ``quota_schedule`` counts from the first request that reaches the
    account. ``burst_s``: seconds of quota it may save up. ``charge_refused``: a request that the quota turns away
    counts against it. ``rate_headers`` False hides every header that tells of the quota.
    ``usd_per_million_tokens``: of models that the catalogue does not list. ``seed``: of faults that strike by chance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: Limit = 10_000
    tokens_per_minute: Limit = 10_000_000
    inputs_per_minute: Limit | None = None
    quota_schedule: tuple[QuotaChange, ...] = ()
    burst_s: Annotated[float, Field(gt=0)] = 60.0
    charge_refused: bool = False
    rate_headers: bool = True
    usd_per_million_tokens: Annotated[float, Field(ge=0)] = 0.1
    faults: tuple[Fault, ...] = ()
    seed: int = 0
