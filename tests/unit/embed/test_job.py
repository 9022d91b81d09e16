"""jobs/embed.py: flags without sense are refused before a cluster is looked for."""

from __future__ import annotations

import pytest

from jobs import embed


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--piece-rows", "-1", "'-1' is not a whole number of 1 or more"),
        ("--workers", "0", "'0' is not a whole number"),
        ("--gpus", "-1", "'-1' is not a number of 0 or more"),
        ("--cpus", "nan", "'nan' is not a number"),
    ],
)
def test_numbers_without_sense_are_refused(flag: str, value: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        embed.main(["student", "--texts", "a.parquet", "--to", "out", f"{flag}={value}"])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
