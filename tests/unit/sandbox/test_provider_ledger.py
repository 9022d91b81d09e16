from __future__ import annotations

import hashlib

import pytest

from mtd_ray.sandbox.provider_ledger import Ledger, catalog_price


def test_dollars_are_tokens_at_each_models_price() -> None:
    ledger = Ledger(lambda model: catalog_price(model) or 0.1)
    ledger.pay("text-embedding-3-large", ["a"], 1_000_000)
    ledger.pay("hash-8", ["a", "b"], 2_000_000)
    assert ledger.to_json()["usd"] == pytest.approx((catalog_price("text-embedding-3-large") or 0) + 0.2)


def test_a_text_bought_twice_shows() -> None:
    ledger = Ledger(lambda model: 0.0)
    ledger.pay("m", ["a", "b"], 2)
    ledger.pay("m", ["a"], 1)
    figures = ledger.to_json()
    assert (figures["texts"], figures["distinct_texts"], figures["tokens"]) == (3, 2, 3)
    assert figures["by_sha256"] == {hashlib.sha256(text).hexdigest(): count for text, count in ((b"a", 2), (b"b", 1))}
    assert "by_sha256" not in ledger.to_json(by_text=False)


def test_what_is_not_answered_is_not_paid() -> None:
    ledger = Ledger(lambda model: 1.0)
    ledger.refuse(429)
    ledger.refuse(429)
    ledger.reset()
    figures = ledger.to_json()
    assert (figures["refused"], figures["reset"], figures["texts"], figures["usd"]) == ({"429": 2}, 1, 0, 0)
