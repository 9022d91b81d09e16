"""Reading bodies, and clients that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive

from serve.api.bodies import ClientGone, Uploads, announced, while_connected
from serve.engine.limits import Limits
from serve.wire.faults import ApiError

GONE: Message = {"type": "http.disconnect"}


def sends(messages: Iterable[Message]) -> Receive:
    """A client that sends these and then stays."""
    left = iter(messages)

    async def receive() -> Message:
        for message in left:
            return message
        return await asyncio.get_running_loop().create_future()

    return receive


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(length: bytes | None = None) -> dict[str, object]:
    return {"type": "http", "headers": [] if length is None else [(b"content-length", length)]}


async def read(length: bytes | None, receive: Receive, *, limit: int = 10, timeout_s: float = 5) -> bytes:
    return await Uploads(Limits(max_body_bytes=limit, deadline_s=timeout_s)).read(scope(length), receive)


def test_a_body_in_pieces_is_put_together() -> None:
    messages = [piece(b"ab"), piece(b""), piece(b"cd"), {"type": "http.request"}]
    assert asyncio.run(read(None, sends(messages), limit=4, timeout_s=5)) == b"abcd"


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ApiError, match="10 bytes") as refusal:
        asyncio.run(read(b"11", sends([]), limit=10, timeout_s=5))
    assert refusal.value.status == 413


def test_a_body_whose_length_was_not_told_is_read_no_further_than_the_limit() -> None:
    left = iter([piece(b"12345678")] * 3)
    with pytest.raises(ApiError) as refusal:
        asyncio.run(read(None, sends(left), limit=10, timeout_s=5))
    assert refusal.value.status == 413
    assert len(list(left)) == 1


def test_bodies_share_the_memory_and_give_it_back() -> None:
    async def asked() -> None:
        uploads = Uploads(Limits(max_body_bytes=10), at_once=2)
        slow = [asyncio.ensure_future(uploads.read(scope(b"10"), sends([piece(b"1")]))) for _ in range(2)]
        await asyncio.sleep(0)
        for one in (uploads.read(scope(b"1"), sends([])), uploads.read(scope(), sends([piece(b"1")]))):
            with pytest.raises(ApiError) as refusal:
                await one
            assert (refusal.value.status, refusal.value.retry_after_s) == (429, 1.0)
        slow[0].cancel()
        await asyncio.sleep(0)
        assert await uploads.read(scope(b"10"), sends([piece(b"1234567890", more=False)])) == b"1234567890"
        assert await uploads.read(scope(), sends([piece(b"12345"), piece(b"67890", more=False)])) == b"1234567890"
        slow[1].cancel()

    asyncio.run(asked())


def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    with pytest.raises(ApiError) as refusal:
        asyncio.run(read(b"4", sends([piece(b"ab")]), limit=10, timeout_s=0.01))
    assert refusal.value.status == 408


@pytest.mark.parametrize(("length", "expected"), [(None, 0), (b"12", 12), (b"-1", 0), (b"many", 0), (b"9" * 5_000, 0)])
def test_a_length_that_makes_no_sense_is_none(length: bytes | None, expected: int) -> None:
    assert announced(scope(length)) == expected


def test_a_client_that_hangs_up_while_sending_is_gone() -> None:
    with pytest.raises(ClientGone):
        asyncio.run(read(None, sends([piece(b"ab"), GONE]), limit=10, timeout_s=5))


def test_a_client_that_hangs_up_ends_its_work() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)

    with pytest.raises(ClientGone):
        asyncio.run(while_connected(work(), sends([GONE])))
    assert ended == [True]


def test_work_of_a_client_that_stays_is_done_and_nothing_is_left_behind() -> None:
    async def work() -> int:
        await asyncio.sleep(0.05)
        return 7

    async def asked() -> int:
        result = await while_connected(work(), sends([]))
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    assert asyncio.run(asked()) == 7


def test_a_server_that_stops_is_no_client_that_hung_up() -> None:
    async def stopped() -> None:
        task = asyncio.ensure_future(while_connected(asyncio.sleep(30), sends([])))
        await asyncio.sleep(0.05)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
