from __future__ import annotations

import random
from typing import Any

import pytest

from mtd_ray.config import CorpusConfig
from mtd_ray.corpus.clean import Cleaner, CleanText, RawText, content_key, normalise
from mtd_ray.errors import CorpusError


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a \t b  ", "a b"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\n\n \n\n b", "a\n\nb"),
        ("cafe\u0301", "café"),
        ("\ufeffa\x00b", "ab"),
        ("a\u00a0\u3000b", "a b"),
        ("\u200b \n\u200d", ""),
        ("日本語\u3000です", "日本語 です"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("", ""),
    ],
)
def test_normalise(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


def test_normalising_twice_is_normalising_once() -> None:
    rng = random.Random(0)
    alphabet = "ab e\u0301\n\r\t\x00\x0b\u0085\u00a0\u200b\u2028\ufeff\u1100\u1161"
    for _ in range(2000):
        once = normalise("".join(rng.choices(alphabet, k=rng.randrange(20))))
        assert normalise(once) == once


def test_equal_content() -> None:
    assert content_key("Straße\n\nNord") == content_key("STRASSE nord")
    assert content_key("ab c") != content_key("a bc")


def _raw(*texts: str | None) -> list[RawText]:
    return [RawText(text, "passage", f"file row {row}") for row, text in enumerate(texts)]


def _config(**keys: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({"source": {"format": "parquet", "path": "x"}, **keys})


def _clean(cleaner: Cleaner, *texts: str | None) -> list[str]:
    return [row.text for row in cleaner.clean(_raw(*texts))]


def test_the_first_of_equal_texts_stays_and_everything_is_counted() -> None:
    cleaner = Cleaner(_config(), {content_key("answer")})
    assert _clean(cleaner, " One ", "two", None, "ONE", "", "An swer", "ANSWER") == ["One", "two", "An swer"]
    assert cleaner.counts == {"read": 7, "kept": 3, "empty": 2, "too_long": 0, "duplicate": 1, "evaluation": 1}


def test_ids_depend_on_content_and_kind_only() -> None:
    first = list(Cleaner(_config()).clean([RawText(" a  b", "passage", "x"), RawText("c", "query", "x")]))
    second = list(Cleaner(_config()).clean([RawText("c", "query", "y"), RawText("a b", "passage", "y")]))
    assert first == second[::-1]
    other_kind = next(Cleaner(_config()).clean([RawText("a b", "query", "x")]))
    assert other_kind.id != first[0].id
    assert all(len(row.id) == 24 and int(row.id, 16) >= 0 for row in first)
    assert isinstance(first[0], CleanText)


def test_limit_stops_reading() -> None:
    def endless() -> Any:
        for number in range(10**9):
            yield RawText(str(number // 2), "passage", "x")

    cleaner = Cleaner(_config(limit=3))
    assert [row.text for row in cleaner.clean(endless())] == ["0", "1", "2"]
    assert cleaner.counts["read"] == 5


def test_a_long_text_is_refused_with_its_row() -> None:
    with pytest.raises(CorpusError, match=r"file row 1: a text of 100,000 characters.*max_chars \(20,000\).*'cut' or 'drop'"):
        _clean(Cleaner(_config()), "short", "x" * 100_000)


def test_a_long_text_is_cut_or_dropped_as_asked() -> None:
    long = "word " * 20_000
    assert _clean(Cleaner(_config(max_chars=10, long_texts="cut")), long, "short") == ["word word", "short"]
    dropping = Cleaner(_config(max_chars=10, long_texts="drop"))
    assert _clean(dropping, long, "short") == ["short"]
    assert dropping.counts["too_long"] == 1


def test_texts_that_are_equal_once_cut_are_duplicates() -> None:
    assert _clean(Cleaner(_config(max_chars=4, long_texts="cut")), "abcdX", "abcdY") == ["abcd"]


def test_an_evaluation_text_is_found_whole_and_cut() -> None:
    for evaluated in ("abcdX", "abcd"):
        cleaner = Cleaner(_config(max_chars=4, long_texts="cut"), {content_key(evaluated)})
        assert _clean(cleaner, "abcdX", "other") == ["othe"]
