"""Dollars, hours and bytes before anything is asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from mtd_ray.config import Teacher
from mtd_ray.harvest.cost import Cost, Forecast, Work, cost_of, requests_of
from mtd_ray.harvest.table import dollars

DOCUMENTS = Work(100_000_000, 100_000_000, 30_000_000_000, "counted with the provider's tokenizer in all rows")


def teacher(**fields: Any) -> Teacher:
    return TypeAdapter(Teacher).validate_python(fields)


OPENAI = teacher(provider="openai", model="text-embedding-3-large", dimensions=3072)
VOYAGE = teacher(provider="voyage", model="voyage-4-large", dimensions=2048)
COHERE = teacher(provider="cohere", model="embed-v4.0", dimensions=1536)
LOCAL = teacher(provider="local", model="m", dimensions=1024)


def test_a_hundred_million_documents_at_openai_are_limited_by_tokens() -> None:
    cost = cost_of("paid", OPENAI, DOCUMENTS)
    assert cost.usd == pytest.approx(3_900)
    assert cost.batch_usd == pytest.approx(1_950)
    assert cost.hours == pytest.approx(50)
    assert cost.limit == "tokens per minute"
    assert cost.quota.startswith("10,000,000 tokens per minute, the provider's highest ordinary tier as of 20")
    assert cost.stored_bytes == 100_000_000 * 3072 * 2


def test_voyage_takes_about_as_long_at_its_highest_tier() -> None:
    cost = cost_of("paid", VOYAGE, DOCUMENTS)
    assert cost.usd == pytest.approx(3_600)
    assert cost.hours == pytest.approx(55.6, abs=0.05)


@pytest.mark.parametrize("tokens_each", [10, 300, 3_000])
def test_cohere_takes_weeks_whatever_the_length_of_the_texts(tokens_each: int) -> None:
    cost = cost_of("paid", COHERE, Work(100_000_000, 100_000_000, tokens_each * 100_000_000, ""))
    assert cost.hours == pytest.approx(34.7 * 24, abs=2)
    assert cost.limit == "inputs per minute"
    assert cost.batch_usd is None


def test_the_recipe_s_own_quota_and_price_win() -> None:
    own = teacher(
        provider="openai",
        model="text-embedding-3-large",
        dimensions=256,
        usd_per_million_tokens=1.0,
        quota={"requests_per_minute": 60},
    )
    work = Work(2048 * 60 * 60, 2048 * 60 * 60, 1_000_000, "")
    cost = cost_of("paid", own, work)
    assert (cost.usd, cost.batch_usd) == (1.0, None)
    assert (cost.hours, cost.quota) == (1.0, "60 requests per minute, from the recipe")


def test_requests_are_those_of_the_tighter_cap() -> None:
    assert requests_of(COHERE, Work(960, 960, 1_000, "")) == 10  # type: ignore[arg-type]
    assert requests_of(VOYAGE, Work(960, 960, 1_200_000, "")) == 10  # type: ignore[arg-type]


def test_a_server_of_one_s_own_and_a_local_model_have_no_time_and_no_price() -> None:
    own = teacher(provider="openai", model="own", base_url="http://own/v1", dimensions=8)
    for cost, limit in ((cost_of("own", own, DOCUMENTS), "unknown"), (cost_of("local", LOCAL, DOCUMENTS), "compute")):
        assert (cost.usd, cost.hours, cost.limit) == (None, None, limit)


def costs() -> list[Cost]:
    return [
        cost_of(name, config, DOCUMENTS, spent)
        for name, config, spent in (("big", OPENAI, 12.5), ("v", VOYAGE, 0.0), ("c", COHERE, 0.0), ("own", LOCAL, 0.0))
    ]


def test_the_table_says_what_a_person_decides_by() -> None:
    lines = str(Forecast(costs(), budget_usd=5_000, spent_on_others_usd=7.5)).splitlines()
    assert "$3,900.00" in lines[1]
    assert "$1,950.00" in lines[1]
    assert "50.0 h" in lines[1]
    assert "614.4 GB" in lines[1]
    assert "34.7 days" in lines[3]
    assert lines[4].split()[-2:] == ["?", "compute"]
    assert lines[5].startswith("together")
    assert "$11,100.00" in lines[5]
    notes = "\n".join(lines[6:])
    assert "big: tokens counted with the provider's tokenizer in all rows; 10,000,000 tokens per minute" in notes
    assert "harvest.budget_usd: $4,980.00 of $5,000.00 left, not enough: $6,120.00 are missing" in notes


def test_a_finished_teacher_has_no_limit_and_no_note() -> None:
    text = str(Forecast([cost_of("done", OPENAI, Work(0, 10, 0, "none"), 0.5)], budget_usd=1.0))
    assert "per minute" not in text
    assert "$0.50 of $1.00 left, enough" in text


@pytest.mark.parametrize(
    ("usd", "text"), [(0, "$0.00"), (1234.5, "$1,234.50"), (0.5, "$0.50"), (0.0123, "$0.0123"), (0.000456, "$0.000456")]
)
def test_dollars_show_what_cents_would_hide(usd: float, text: str) -> None:
    assert dollars(usd) == text
