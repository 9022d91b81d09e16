"""Reading ahead changes neither the sequence nor where an error surfaces, and leaving never hangs."""

import threading

import pytest

from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.data.prefetch import Prefetcher
from mtd_ray.errors import CorpusError


class Numbered:
    """A reader whose batches name their step; step 2 raises ``error``, step ``stuck`` is never ready."""

    def __init__(self, error: BaseException | None = None, stuck: int = -1) -> None:
        self.error, self.stuck = error, stuck
        self.asked: list[int] = []
        self.closed = False
        self.reached = threading.Event()
        self.release = threading.Event()

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        if step == 2 and self.error is not None:
            raise self.error
        if step == self.stuck:
            self.reached.set()
            self.release.wait(30)
        return Batch([str(step)], [], [], None, [], [], [])

    def close(self) -> None:
        self.closed = True


def test_batches_are_those_of_their_steps() -> None:
    with Prefetcher(Numbered(), range(5, 9)) as batches:
        assert [batch.ids[0] for batch in batches] == ["5", "6", "7", "8"]


class Panic(BaseException):
    """As the Rust libraries raise it."""


@pytest.mark.parametrize("error", [CorpusError("shard 7 is damaged"), Panic("shard 7")])
def test_an_error_while_reading_ahead_reaches_the_trainer_at_its_step(error: BaseException) -> None:
    seen = []
    with pytest.raises(type(error), match="shard 7"), Prefetcher(Numbered(error), range(5)) as batches:
        seen.extend(batch.ids[0] for batch in batches)
    assert seen == ["0", "1"]


def test_leaving_early_ends_the_thread_and_closes_the_reader() -> None:
    reader = Numbered()
    prefetcher = Prefetcher(reader, range(1000), ahead=2)
    with prefetcher as batches:
        next(iter(batches))
    assert reader.closed
    assert not prefetcher._thread.is_alive()
    assert len(reader.asked) < 6


def test_leaving_does_not_wait_for_a_read_that_hangs() -> None:
    reader = Numbered(stuck=1)
    prefetcher = Prefetcher(reader, range(1000), patience=0.01)
    with prefetcher:
        assert reader.reached.wait(10)
    assert prefetcher._thread.is_alive()
    reader.release.set()
    prefetcher._thread.join(10)
    assert not prefetcher._thread.is_alive()
    assert reader.asked == [0, 1]
