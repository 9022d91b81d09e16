from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import pytest

from mtd_ray import layout
from mtd_ray.errors import StorageError, TargetError
from mtd_ray.harvest.claims import Claim, Claims
from mtd_ray.harvest.ledger import Ledger
from mtd_ray.objects import ObjectInfo, ObjectStore
from mtd_ray.teachers import BudgetSpent

A, B = "a" * 64, "b" * 64
_WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Objects in a dict; ``after_put`` is called once, right after the next write."""

    url = "memory:"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes = 0
        self.after_put: Callable[[], object] | None = None

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data
        self.writes += 1
        hook, self.after_put = self.after_put, None
        if hook is not None:
            hook()

    def get(self, key: str) -> bytes:
        return self.objects[key]

    def list(self, prefix: str) -> list[ObjectInfo]:
        return [ObjectInfo(key, len(data), _WRITTEN) for key, data in self.objects.items() if key.startswith(f"{prefix}/")]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def claims_of(store: MemoryStore) -> Claims:
    return Claims(store, [A, B])  # type: ignore[arg-type]


def ledger(store: MemoryStore, cap: float, name: str = "one", clock: Clock | None = None) -> Ledger:
    return Ledger(claims_of(store), name, cap, [A, B], clock=clock or Clock(), nap=lambda _: None)


def reserve(book: Ledger, usd: float, teacher: str = A) -> bool:
    return book.take(teacher, usd) or (book.claim(teacher, usd) and book.take(teacher, usd))


def counted(store: MemoryStore) -> float:
    return sum(claims_of(store).counted_usd().values())


def test_money_is_claimed_in_storage_before_it_is_granted() -> None:
    store = MemoryStore()
    book = ledger(store, cap=10.0)
    assert not book.take(A, 1.0)
    assert reserve(book, 1.0)
    assert counted(store) >= 1.0


def test_what_fits_into_the_claim_touches_no_storage() -> None:
    store, clock = MemoryStore(), Clock()
    book = ledger(store, cap=1000.0, clock=clock)
    for _ in range(600):
        assert reserve(book, 0.1)
        clock.now += 0.1
    assert store.writes < 25, "a minute at ten requests a second: about one write in ten seconds once the pace is known"


def test_a_claim_is_ahead_of_spending_by_a_hundredth_of_the_cap_at_most() -> None:
    store = MemoryStore()
    book, spent = ledger(store, cap=100.0), 0.0
    for _ in range(500):
        assert reserve(book, 0.05)
        book.settle(A, 0.05, 0.05)
        spent += 0.05
        assert counted(store) <= spent + 1.0 + 1e-6


def test_the_cap_can_be_used_up_and_not_passed() -> None:
    store = MemoryStore()
    book, granted = ledger(store, cap=10.0), 0
    while reserve(book, 0.3):
        book.settle(A, 0.3, 0.3)
        granted += 1
    assert granted == 33
    message = book.spent_message()
    assert re.search(r"harvest\.budget_usd reached: \$9\.90 spent of \$10\.00.*raise it and run again", message)


def test_a_dead_incarnation_counts_with_its_whole_claim_and_a_closed_one_with_what_it_spent() -> None:
    store = MemoryStore()
    dead = ledger(store, cap=10.0, name="dead")
    assert reserve(dead, 4.0)
    dead.settle(A, 4.0, 1.0)
    closed = ledger(store, cap=10.0, name="closed")
    assert reserve(closed, 4.0, B)
    closed.settle(B, 4.0, 2.5)
    closed.close()
    last = ledger(store, cap=10.0, name="last")
    assert not reserve(last, 3.6), "4 claimed and 2.5 spent leave 3.5"
    assert reserve(last, 3.5)


def test_what_is_under_way_at_the_end_counts_as_spent_and_nothing_more_is_granted() -> None:
    store = MemoryStore()
    book = ledger(store, cap=10.0)
    assert reserve(book, 2.0)
    assert reserve(book, 3.0)
    book.settle(A, 2.0, 1.5)
    book.close()
    assert counted(store) == pytest.approx(4.5)
    with pytest.raises(BudgetSpent, match="ended"):
        book.take(A, 0.1)


def test_a_claim_that_storage_failed_over_is_closed_at_the_end() -> None:
    store = MemoryStore()
    book = ledger(store, cap=10.0)

    def break_down() -> None:
        raise StorageError("no answer")

    store.after_put = break_down
    with pytest.raises(StorageError):
        reserve(book, 4.0)
    assert counted(store) == 4.0, "what may have been claimed counts"
    book.close()
    assert counted(store) == 0.0


def test_settling_below_the_reservation_makes_room() -> None:
    book = ledger(MemoryStore(), cap=10.0)
    assert reserve(book, 9.0)
    assert not reserve(book, 2.0)
    assert book.reserved_usd == 9.0
    book.settle(A, 9.0, 1.0)
    assert reserve(book, 2.0)


def test_a_request_that_cost_more_than_was_reserved_is_made_up_for() -> None:
    store = MemoryStore()
    book = ledger(store, cap=10.0)
    assert reserve(book, 1.0)
    book.settle(A, 1.0, 5.0)
    assert not reserve(book, 5.5)
    assert reserve(book, 5.0)
    assert counted(store) == pytest.approx(10.0)


def test_what_one_teacher_has_claimed_and_does_not_use_goes_to_another() -> None:
    book = ledger(MemoryStore(), cap=10.0)
    assert reserve(book, 6.0, A)
    book.settle(A, 6.0, 0.0)
    assert reserve(book, 9.0, B)
    assert not book.take(A, 2.0)


def test_of_two_drivers_that_raise_at_once_one_steps_back() -> None:
    store = MemoryStore()
    first, second = ledger(store, cap=10.0, name="first"), ledger(store, cap=10.0, name="second")
    outcomes: list[bool] = []
    store.after_put = lambda: outcomes.append(reserve(second, 6.0))
    outcomes.append(reserve(first, 6.0))
    assert outcomes.count(True) == 1 or outcomes == [False, True]
    assert sum(outcomes) <= 1
    assert counted(store) <= 10.0
    assert reserve(first, 4.0)
    assert counted(store) <= 10.0


@pytest.mark.parametrize("seed", range(20))
def test_drivers_that_crash_and_come_back_never_spend_more_than_the_cap(seed: int) -> None:
    chance, store, paid, cap = Random(seed), MemoryStore(), 0.0, 20.0
    books = [ledger(store, cap, name=f"{seed}-{number}") for number in range(3)]
    for step in range(400):
        which = chance.randrange(3)
        if chance.random() < 0.02:
            if chance.random() < 0.5:
                books[which].close()
            books[which] = ledger(store, cap, name=f"{seed}-{which}-{step}")
        teacher, usd = chance.choice((A, B)), chance.uniform(0.01, 0.4)
        if chance.random() < 0.2:
            other = books[(which + 1) % 3]
            store.after_put = lambda other=other, teacher=teacher: reserve(other, 0.3, teacher)
        granted = reserve(books[which], usd, teacher)
        store.after_put = None
        if granted:
            spent = usd * chance.random()
            paid += spent
            books[which].settle(teacher, usd, spent)
        assert paid <= counted(store) + 1e-9 <= cap + 1e-6


def test_without_a_cap_spending_is_written_down_for_a_cap_that_comes_later() -> None:
    store, clock = MemoryStore(), Clock()
    book = ledger(store, cap=math.inf, name="uncapped", clock=clock)
    for _ in range(100):
        assert reserve(book, 0.1)
        book.settle(A, 0.1, 0.08)
        clock.now += 0.1
        assert counted(store) <= 0.08 * 100 + 10.0, "ten seconds ahead of what is spent"
    assert not reserve(ledger(store, cap=8.05, name="capped"), 0.1), "also while it runs"
    book.close()
    assert counted(store) == pytest.approx(8.0)
    capped = ledger(store, cap=8.15, name="later")
    assert reserve(capped, 0.1)
    assert not reserve(capped, 0.1)


def test_a_damaged_claim_stops_the_spending() -> None:
    store = MemoryStore()
    store.objects[f"{layout.spending(A)}/x.json"] = b"{"
    with pytest.raises(TargetError, match="says what was spent"):
        reserve(ledger(store, cap=1.0), 0.1)


def test_claims_are_read_back_from_a_real_store(local_store: ObjectStore) -> None:
    claims = Claims(local_store, [A, B])
    claims.write(A, "x", Claim(3.0, 1.0, closed=False))
    claims.write(A, "y", Claim(3.0, 1.0, closed=True))
    assert claims.counted_usd() == {A: 4.0, B: 0}
    assert claims.counted_usd(without="x") == {A: 1.0, B: 0}


def test_money_that_is_all_settled_is_not_under_way_whatever_rounding_leaves() -> None:
    book = ledger(MemoryStore(), cap=10.0)
    amounts = [0.1, 0.2, 0.3, 0.018, 0.017]
    for usd in amounts:
        assert reserve(book, usd)
    for usd in reversed(amounts):
        book.settle(A, usd, usd / 3)
    assert book.reserved_usd == 0.0
