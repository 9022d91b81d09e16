"""What a harvest leaves in storage about itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from mtd_ray.harvest.claims import Claim, Claims, paid_teachers
from mtd_ray.harvest.receipt import HarvestReceipt, write_receipts
from mtd_ray.objects import ObjectStore
from tests.tiny_corpus import tiny_recipe

PAID = {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 2, "api_key": "env:CANARY_KEY"}
LOCAL = {"provider": "local", "model": "some/model", "dimensions": 2}
NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


def receipt(teacher: str, **changes: float) -> HarvestReceipt:
    counts = {"rows": 1000, "failed_rows": 3, "parts": 4, "parts_already_there": 1, "tokens": 54_321, "requests": 9}
    fields = counts | {"rejected_requests": 1, "seconds": 12.4, "usd": 0.5, "total_usd": 2.25} | changes
    return HarvestReceipt(teacher=teacher, fingerprint="f" * 64, **fields)  # type: ignore[arg-type]


def test_receipts_are_written_for_programs_and_for_people(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, {"paid": PAID, "own": LOCAL})
    receipts = {"paid": receipt("paid"), "own": receipt("own", usd=0.0, total_usd=0.0)}
    key = write_receipts(local_store, recipe, receipts, now=NOW)
    assert key == "harvests/tiny/20260304T050607-891011Z.json"
    facts = json.loads(local_store.get(key))
    assert facts["teachers"]["paid"] == facts["teachers"]["paid"] | {
        "provider": "openai", "model": "text-embedding-3-small", "rows": 1000, "failed_rows": 3, "usd": 0.5, "total_usd": 2.25,
    }  # fmt: skip
    assert (facts["recipe"], facts["written_at"], facts["budget_usd"]) == ("tiny", "2026-03-04T05:06:07+00:00", None)
    text = local_store.get(key.replace(".json", ".md")).decode()
    assert "| paid | text-embedding-3-small | 997 | 3 | 54,321 | 9 | 1 | $0.50 | $2.25 | 12 |" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 4


def test_a_budget_is_told_with_what_was_spent_of_it(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, {"paid": PAID}, budget_usd=10.0)
    (fingerprint,) = paid_teachers(recipe).values()
    Claims(local_store, [fingerprint]).write(fingerprint, "x", Claim(5.0, 4.5, closed=True))
    key = write_receipts(local_store, recipe, {"paid": receipt("paid")}, now=NOW)
    assert json.loads(local_store.get(key))["spent_of_budget_usd"] == 4.5
    assert "Spent of `harvest.budget_usd`: $4.50 of $10.00." in local_store.get(key.replace(".json", ".md")).decode()


def test_no_reference_to_a_secret_is_written(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, {"paid": PAID})
    key = write_receipts(local_store, recipe, {"paid": receipt("paid")})
    for ending in (".json", ".md"):
        assert b"CANARY_KEY" not in local_store.get(key.replace(".json", ending))


def test_a_receipt_says_what_this_harvest_cost() -> None:
    assert str(receipt("paid")) == (
        "paid: 1,000 rows, 3 without a vector, 1 of 4 parts there already; 54,321 tokens, 9 requests, $0.50 in 12 s"
    )
    assert str(receipt("own", parts_already_there=4)) == "own: 1,000 rows, all there already"
