from __future__ import annotations

import textwrap

import pytest

from mtd_ray.corpus.docstrings import docstrings_of

BODY = "The values are kept in the order in which they were added, and nothing is ever removed from them by this class."


def _found(docstring: str) -> list[tuple[str, str]]:
    source = "def f():\n" + textwrap.indent(f'"""{textwrap.dedent(docstring)}"""', "    ")
    return [(found.summary, found.body) for found in docstrings_of(source.encode())]


def test_modules_classes_and_functions_are_read_in_order() -> None:
    source = f'''"""Tools for keeping values in order.

{BODY}
"""
if True:
    class A:
        """Keeps the values it is
        given by its users.

        {BODY}
        """
        async def g(self):
            """Adds one more value to them.

            {BODY}
            """
try:
    pass
except ValueError:
    def h():
        """Another way to add a value.

        {BODY}
        """
'''
    found = docstrings_of(source.encode())
    assert [docstring.summary for docstring in found] == [
        "Tools for keeping values in order.",
        "Keeps the values it is given by its users.",
        "Adds one more value to them.",
        "Another way to add a value.",
    ]
    assert {docstring.body for docstring in found} == {BODY}
    assert [docstring.line for docstring in found] == [1, 6, 12, 20]


def test_lines_of_dashes_are_removed() -> None:
    ((_, body),) = _found(f"Keeps the values in order.\n\n{BODY}\n\nReturns\n-------\nint\n")
    assert body == f"{BODY}\n\nReturns\nint"


@pytest.mark.parametrize(
    ("docstring", "why"),
    [
        (f"Values.\n\n{BODY}", "the summary is tiny"),
        (f"{'Keeps all of the values ' * 10}\n\n{BODY}", "the summary is a paragraph"),
        (f"f(a, b) -> the value of both\n\n{BODY}", "the summary is a signature"),
        (f":param value: what shall be added to them\n\n{BODY}", "the summary is a directive"),
        ("Keeps the values in order.", "there is no body"),
        ("Keeps the values in order.\n\nSee above.", "the body is tiny"),
        (
            "Keeps the values in order.\n\n>>> keep(one, two, three)\nwhat the call has given back to us\n>>> keep(four)\nand one",
            "the body is a doctest",
        ),
        (
            f"Keeps the values in order.\n\n{BODY[:80]}\n\n```\n" + "for value in values: keep(value)\n" * 8 + "```",
            "most of the body is code",
        ),
        (
            "Keeps the values in order::\n\n    keep(1)\n\nUsed as follows by all who need it::\n\n"
            + "    keep(value, of=it)\n" * 8,
            "most of the body is a literal block",
        ),
        ("Keeps the values in order.\n\n" + "0.1 | 0.2 | 0.3 | yes no\n" * 12, "the body is a table of numbers"),
        (f"Keeps the values in order.\n\n{BODY} \\ud800", "it cannot be written to a file"),
    ],
)
def test_what_does_not_read_as_english_is_left_out(docstring: str, why: str) -> None:
    assert _found(docstring) == [], why


@pytest.mark.parametrize("source", [b'"""', b"def f(:\n  '''a'''", b"\xff'''", b"x = 1", b"'''a\x00b'''"])
def test_source_that_does_not_parse_has_none(source: bytes) -> None:
    assert docstrings_of(source) == []


def test_deeply_nested_source_is_survived() -> None:
    assert docstrings_of(b"'''a'''\nx = " + b"(" * 5000 + b")" * 5000) == []
