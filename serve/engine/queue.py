"""The queue before the model: fair between those who ask, and between the questions of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count

from serve.engine.work import Item, Job

Choose = Callable[[str, Sequence[int]], list[int]]

_SWEEP_FROM = 64


class _Flow:
    """The waiting jobs of one who asks. Its tag is the service that it had, on the queue's clock; its jobs' tags are on its own."""

    def __init__(self, name: str, number: int, tag: float) -> None:
        self.name = name
        self.number = number
        self.tag = tag
        self.jobs = 0
        self._clock = 0.0
        self._waiting: list[tuple[float, int, Job]] = []
        self._opened: list[tuple[float, int, Job]] = []
        self._touched: list[tuple[int, Job]] = []

    def push(self, number: int, job: Job) -> None:
        job.tag = self._clock
        self.jobs += 1
        heappush(self._waiting, (job.tag, number, job))

    def draw(self) -> Item | None:
        """The next item in fair order; None when there is none. What is drawn is not served yet."""
        while self._waiting or self._opened:
            if self._opened and (not self._waiting or self._opened[0] < self._waiting[0]):
                tag, number, job = heappop(self._opened)
            else:
                tag, number, job = heappop(self._waiting)
                if job.over or not job.waiting:
                    self.jobs -= 1
                    continue
                if tag < job.tag:  # it was served out of turn meanwhile
                    heappush(self._waiting, (job.tag, number, job))
                    continue
                self._touched.append((number, job))
            item = job.waiting[job.drawn]
            job.drawn += 1
            if job.drawn < len(job.waiting):
                heappush(self._opened, (tag + item.tokens, number, job))
            return item
        return None

    def serve(self, item: Item) -> None:
        item.job.tag += item.tokens
        self._clock += item.tokens / max(self.jobs, 1)

    def put_back(self) -> None:
        """What was drawn and not taken waits again."""
        for number, job in self._touched:
            job.drawn = 0
            if job.waiting:
                heappush(self._waiting, (job.tag, number, job))
            else:
                self.jobs -= 1
        self._touched, self._opened = [], []
        if self._waiting:
            self._clock = max(self._clock, self._waiting[0][0])

    def sweep(self) -> None:
        self._waiting = [entry for entry in self._waiting if not entry[2].over and entry[2].waiting]
        self.jobs = len(self._waiting)
        heapify(self._waiting)


class FairQueue:
    """Items in the order of start-time fair queueing, in two levels: flows share the model, the jobs of a flow share its part.

    A flow's (or job's) tag is the number of tokens that it was served; the smallest is served next. A new one starts at the clock,
    which runs as the tag of one that gets its fair part. So a job of thousands of texts does not stand before a later one of a
    single text, and goes on at its part however many come. The order costs the last in line some time, so a job that has waited for
    ``urgent_after_s`` is served out of turn by every second batch, the oldest first: under a queue of at most half of what can be
    computed in the rest of its deadline it is in time.

    Not thread-safe; it belongs to the model thread.

    Args:
        choose: (model, tokens of items by falling claim) → which of them go together, the first among them.
        lookahead: (model) → tokens of the items among which ``choose`` chooses.
        urgent_after_s: of a job's age, in seconds.
    """

    def __init__(self, choose: Choose, lookahead: Callable[[str], int], urgent_after_s: float) -> None:
        self._choose = choose
        self._lookahead = lookahead
        self._urgent_after_s = urgent_after_s
        self._numbers = count()
        self._flows: dict[str, _Flow] = {}
        self._order: list[tuple[float, int, _Flow]] = []
        self._drawn: list[_Flow] = []
        self._oldest: deque[Job] = deque()
        self._clock = 0.0
        self._out_of_turn = False
        self._done = 0

    def __bool__(self) -> bool:
        return bool(self._oldest)

    def push(self, job: Job) -> None:
        """Take a job with waiting items."""
        flow = self._flows.get(job.flow)
        if flow is None:
            flow = self._flows[job.flow] = _Flow(job.flow, next(self._numbers), self._clock)
            heappush(self._order, (flow.tag, flow.number, flow))
        flow.push(next(self._numbers), job)
        self._oldest.append(job)

    def take(self, now: float) -> list[Item]:
        """The next batch, of one model; empty when nothing waits. Items whose job is over are dropped.

        Args:
            now: on the clock of ``Job.arrived``.
        """
        while self._oldest and (self._oldest[0].over or not self._oldest[0].waiting):
            self._oldest.popleft()
            self._done -= 1
        if not self._oldest:
            self.clear()
            return []
        self._out_of_turn = not self._out_of_turn and now - self._oldest[0].arrived > self._urgent_after_s
        found = self._looked_ahead(self._by_age() if self._out_of_turn else self._by_tag())
        chosen = self._choose(found[0].model, [item.tokens for item in found]) if found else []
        batch = [found[place] for place in chosen]
        self._serve(batch)
        self._put_back()
        self._sweep()
        return batch

    def forget(self) -> None:
        """A job is over that may still wait here. Its memory is freed when it is due, or once half of the jobs are such."""
        self._done += 1
        self._sweep()

    def clear(self) -> list[Job]:
        """Give up all jobs; returns them."""
        jobs = list(self._oldest)
        self._oldest.clear()
        self._flows.clear()
        self._order, self._drawn, self._done = [], [], 0
        return jobs

    def _sweep(self) -> None:
        if self._done > max(len(self._oldest) // 2, _SWEEP_FROM):
            self._done = 0
            self._oldest = deque(job for job in self._oldest if not job.over and job.waiting)
            for flow in self._flows.values():
                flow.sweep()

    def _looked_ahead(self, items: Iterator[Item]) -> list[Item]:
        first = next(items, None)
        if first is None:  # its job was over a moment ago
            return []
        found, room = [first], self._lookahead(first.model) - first.tokens
        for item in items:
            room -= item.tokens
            if room < 0:
                break
            if item.model == first.model:
                found.append(item)
        return found

    def _by_age(self) -> Iterator[Item]:
        for job in self._oldest:
            if not job.over:
                yield from job.waiting

    def _by_tag(self) -> Iterator[Item]:
        opened: list[tuple[float, int, _Flow]] = []
        while self._order or opened:
            if self._order and (not opened or self._order[0] < opened[0]):
                tag, number, flow = heappop(self._order)
                if tag < flow.tag:  # it was served out of turn meanwhile
                    heappush(self._order, (flow.tag, number, flow))
                else:
                    self._drawn.append(flow)
                    heappush(opened, (tag, number, flow))
                continue
            tag, number, flow = opened[0]
            item = flow.draw()
            if item is None:
                heappop(opened)
                continue
            heapreplace(opened, (tag + item.tokens, number, flow))
            yield item

    def _serve(self, batch: Sequence[Item]) -> None:
        for item in batch:
            item.taken = True
            flow = self._flows[item.job.flow]
            flow.tag += item.tokens
            flow.serve(item)
            self._clock += item.tokens / len(self._flows)
        for job in {id(item.job): item.job for item in batch}.values():
            job.waiting = [item for item in job.waiting if not item.taken]
            self._done += not job.waiting

    def _put_back(self) -> None:
        """Flows that were drawn from wait again."""
        for flow in self._drawn:
            flow.put_back()
            if flow.jobs:
                heappush(self._order, (flow.tag, flow.number, flow))
            else:
                del self._flows[flow.name]
        self._drawn = []
        if self._order:
            self._clock = max(self._clock, self._order[0][0])
