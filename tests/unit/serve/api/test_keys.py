"""API keys."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path

import pytest

from mtd_ray.errors import MtdError
from serve.api.keys import Keys
from serve.wire.faults import ApiError

FIRST, SECOND = "first-key-0123456789", "second-key-0123456789"


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer " + SECOND.encode()),
        (b"authorization", b"bearer   " + SECOND.encode()),
        (b"api-key", SECOND.encode()),
        (b"x-api-key", SECOND.encode()),
    ],
)
def test_each_key_is_let_in_by_each_header(header: tuple[bytes, bytes]) -> None:
    keys = Keys([FIRST, SECOND])
    owner = keys.owner([(b"host", b"here"), header])
    assert owner == Keys([SECOND]).owner([header])
    assert owner != Keys([FIRST]).owner([(b"api-key", FIRST.encode())])
    assert owner not in SECOND


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic " + FIRST.encode())],
        [(b"authorization", FIRST.encode())],
        [(b"api-key", FIRST.encode()[:-1])],
        [(b"api-key", FIRST.upper().encode())],
        [(b"api-key", b"\xff" * 20)],
    ],
)
def test_others_are_refused_and_told_how_to_send_a_key(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ApiError, match="API key") as refusal:
        Keys([FIRST, SECOND]).owner(headers)
    assert (refusal.value.status, refusal.value.code) == (401, "invalid_api_key")
    assert dict(refusal.value.headers) == {b"www-authenticate": b"Bearer"}
    assert FIRST not in refusal.value.message


def test_keys_come_from_a_secret_one_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEYS", f"{FIRST}\n\n  {SECOND}\r\n")
    keys = Keys.resolve("env:SERVICE_KEYS")
    monkeypatch.setenv("SERVICE_KEYS", FIRST)
    keys.renew()
    assert repr(keys) == "Keys(2)"
    with pytest.raises(MtdError, match="SERVICE_KEYS"):
        monkeypatch.delenv("SERVICE_KEYS")
        Keys.resolve("env:SERVICE_KEYS")


def lets_in(keys: Keys, key: str) -> bool:
    try:
        keys.owner([(b"api-key", key.encode())])
    except ApiError:
        return False
    return True


def test_a_replaced_file_counts_and_a_broken_one_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    file.write_text(FIRST)
    keys = Keys.resolve(f"file:{file}")
    file.write_text(SECOND)
    keys.renew()
    assert (lets_in(keys, FIRST), lets_in(keys, SECOND)) == (False, True)
    for broken in ("", "short"):
        file.write_text(broken)
        keys.renew()
        keys.renew()
    file.unlink()
    keys.renew()
    assert lets_in(keys, SECOND)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the API keys stay as they were"] * 3
    file.write_text(f"{FIRST}\n{SECOND}")
    keys.renew()
    assert lets_in(keys, FIRST)


def test_aws_is_asked_every_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, times = [FIRST], [0.0]
    monkeypatch.setattr("serve.api.keys.resolve_secret", lambda reference: secret[0])
    keys = Keys.resolve("aws-sm:arn#keys", clock=lambda: times[0])
    secret[0], times[0] = SECOND, 299.0
    keys.renew()
    assert lets_in(keys, FIRST)
    times[0] = 300.0
    keys.renew()
    assert lets_in(keys, SECOND)


@pytest.mark.parametrize("wrong", ["short", "with space 0123456789", "ключ-0123456789-ключ", "tab\t0123456789012345"])
def test_a_key_that_can_be_guessed_or_not_be_sent_is_refused_without_being_shown(wrong: str) -> None:
    with pytest.raises(MtdError, match="API key 2") as refusal:
        Keys([FIRST, wrong])
    assert wrong not in str(refusal.value)


def test_no_key_stays_in_memory_that_could_be_shown() -> None:
    keys = Keys([FIRST])
    assert FIRST.encode() not in pickle.dumps(keys)
    assert FIRST not in repr(vars(keys))
    assert not [held for held in gc.get_referents(keys) if held == FIRST]
