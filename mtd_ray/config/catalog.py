"""What the providers publish about their models, read from ``catalog.yaml``: caps, sizes, prices, limits. One file, one date."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from mtd_ray.config.base import Frozen, PositiveFloat, PositiveInt, Weight
from mtd_ray.config.yaml_text import parse_yaml

if TYPE_CHECKING:
    from mtd_ray.config.teachers import ApiTeacher

_FILE = Path(__file__).with_name("catalog.yaml")


class PerMinute(Frozen):
    """Limits of an account in the three currencies of providers; an absent one is not limited."""

    requests: PositiveFloat | None = None
    tokens: PositiveFloat | None = None
    inputs: PositiveFloat | None = None


class Caps(Frozen):
    """What one request may hold: texts, tokens of all texts together, tokens of each text."""

    inputs: PositiveInt
    request_tokens: PositiveInt
    tokens: PositiveInt


class ModelFacts(Frozen):
    """One model. ``price`` and ``batch_price``: US dollars per million tokens; ``sizes``: the only vector sizes offered, or
    ``size``: the full one, which ``shortens`` to any smaller."""

    price: Weight | None = None
    batch_price: Weight | None = None
    size: PositiveInt | None = None
    sizes: tuple[PositiveInt, ...] = ()
    shortens: bool = False
    request_tokens: PositiveInt | None = None
    per_minute: PerMinute | None = None
    tokenizer: str | None = None

    def offers(self, dimensions: int) -> bool:
        """Whether vectors of this size can be asked for; of a model that is not listed, any."""
        if self.sizes:
            return dimensions in self.sizes
        return self.size is None or dimensions == self.size or (self.shortens and dimensions < self.size)

    @property
    def offer(self) -> str:
        """The sizes on offer, in words."""
        if self.sizes:
            return f"one of {', '.join(map(str, sorted(self.sizes)))}"
        return f"{self.size} or any smaller" if self.shortens else f"{self.size}"


class ProviderFacts(Frozen):
    """One provider: caps of a request, limits of the highest ordinary tier, models by name."""

    caps: Caps
    per_minute: PerMinute
    models: dict[str, ModelFacts]


class Catalog(Frozen):
    """The whole file. ``as_of`` is the day its prices were looked up."""

    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    sources: dict[str, str]
    providers: dict[str, ProviderFacts]

    def model(self, provider: str, name: str) -> ModelFacts:
        """What is known of a model; nothing when it is not listed."""
        return self.providers[provider].models.get(name, ModelFacts())

    def caps(self, provider: str, name: str) -> Caps:
        """What one request to a model may hold."""
        caps = self.providers[provider].caps
        tokens = self.model(provider, name).request_tokens
        return caps if tokens is None else caps.model_copy(update={"request_tokens": tokens})

    def per_minute(self, provider: str, name: str) -> PerMinute:
        """The limits of the highest ordinary tier for a model."""
        return self.model(provider, name).per_minute or self.providers[provider].per_minute


@lru_cache(maxsize=1)
def catalog() -> Catalog:
    """The catalog that ships with this version."""
    return Catalog.model_validate(parse_yaml(_FILE.read_text(encoding="utf-8")), strict=False)


def usd_per_token(teacher: ApiTeacher) -> float | None:
    """What a token costs: the recipe's price, else the catalogue's; None when neither knows."""
    price = teacher.usd_per_million_tokens
    if price is None:
        price = catalog().model(teacher.provider, teacher.model).price
    return None if price is None else price / 1e6
