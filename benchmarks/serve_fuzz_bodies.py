"""Bodies that are almost requests, such as no description of an API leads to."""

from __future__ import annotations

import json

from hypothesis import strategies as st

ODD_TEXTS = (
    "\0",
    " " * 5_000,
    "\n\t\r",
    "\ufeff",
    "\u202e",
    "e\u0301" * 500,
    "👩‍👩‍👧‍👦" * 90,
    "[CLS] [SEP] [MASK] [PAD]",
    "a" * 90_000,
    '":',
    "\\",
)
ODD_NUMBERS = (
    *(b"1e400", b"-0", b"1.0", b"1E2", b"NaN", b"Infinity", b"-1", b"0", b"01", b"0x10", b"true"),
    *(b"9" * 40, b"9" * 6_000, b"18446744073709551615", b"18446744073709551616"),
)
ODD_CHARACTERS = (b"\\ud800", b"\\udfff", b"\\ud800\\u0041", b"\\u00", b"\\x00", b"\xff", b"\xed\xa0\x80", b"\x00", b"\n")


def bodies(name: str) -> st.SearchStrategy[bytes]:
    """``name`` is the field of the texts."""
    field = name.encode()
    whole = _requests(name)
    deep = st.integers(1, 3_000).map(lambda depth: b'{"%b": %b%b}' % (field, b"[" * depth, b"]" * depth))
    form = st.sampled_from([b'{"%b": [%b]}', b'{"%b": [[%b]]}', b'{"%b": %b}', b'{"%b": "a", "dimensions": %b}'])
    numbers = st.builds(lambda form, number: form % (field, number), form, st.sampled_from(ODD_NUMBERS))
    characters = st.sampled_from(ODD_CHARACTERS).map(lambda odd: b'{"%b": "a%b"}' % (field, odd))
    twice = whole.map(lambda body: b'%b, "%b": "again"}' % (body[:-1], field))
    return st.one_of(whole, _damaged(whole), _damaged(whole), st.binary(max_size=200), deep, numbers, characters, twice)


@st.composite
def _requests(draw: st.DrawFn, name: str) -> bytes:
    text = st.text(max_size=60) | st.sampled_from(ODD_TEXTS)
    ids = st.lists(st.integers(-3, 400) | st.integers(), max_size=50)
    many = st.integers(1, 3_000).map(lambda rows: ["a"] * rows)
    fields = {name: draw(text | st.lists(text | ids, max_size=8) | ids | many), "truncate": draw(st.booleans())}
    return json.dumps(fields, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def _damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    body = draw(whole)
    place = draw(st.integers(0, len(body)))
    return body[:place] + draw(st.binary(max_size=3)) + (body[place + 1 :] if draw(st.booleans()) else b"")
