"""Loose values from settings, the environment and key-value stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from robust_email import values

if TYPE_CHECKING:
    from collections.abc import Callable

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()), st.just(object())
)
READERS: dict[str, Callable[[object], object]] = {
    "boolean": values.boolean,
    "whole": values.whole(1, 65_535),
    "seconds": values.seconds(),
    "text": values.text,
    "path": values.path,
    "texts": values.texts,
    "words": values.words,
    "one_of": values.one_of("count", "raise"),
    "token": values.token,
}


@pytest.mark.parametrize("name", READERS)
@given(value=ANYTHING)
def test_a_reader_gives_a_value_or_says_what_it_wants(name: str, value: object) -> None:
    """Whatever is given, a reader returns a value or None, or raises ValueError; never anything else."""
    try:
        found = READERS[name](value)
    except ValueError as error:
        assert str(error).startswith(("a ", "True", "between", "one of"))
    else:
        assert found is None or READERS[name](found) == found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        ("TRUE", True),
        ("false", False),
        (" YES ", True),
        ("off", False),
        ("", False),
        (None, None),
        (lazystr("1"), True),
    ],
)
def test_a_switch_reads_as_it_is_meant(given: object, expected: bool | None) -> None:  # noqa: FBT001 - a parameter
    """Words, digits and the empty string switch as people mean them, unlike bool()."""
    assert values.boolean(given) is expected


@pytest.mark.parametrize("value", ["tru", 2, 1.0, b"1", []])
def test_a_switch_refuses_what_is_unclear(value: object) -> None:
    """What is neither true nor false in words is an error, not true."""
    with pytest.raises(ValueError, match="True or False"):
        values.boolean(value)


@pytest.mark.parametrize(("given", "expected"), [("0587", 587), (587, 587), (587.0, 587), ("", None), (None, None)])
def test_a_whole_number_may_be_a_string(given: object, expected: int | None) -> None:
    """Digits in a string are the number; nothing is nothing."""
    assert values.whole(1, 65_535)(given) == expected


@pytest.mark.parametrize("value", [0, 65_536, "x", 1.5, True, float("nan"), float("inf"), b"1"])
def test_a_whole_number_keeps_its_bounds(value: object) -> None:
    """Out of bounds, not whole, a bool or no number: refused with the bounds."""
    with pytest.raises(ValueError, match="between 1 and 65535"):
        values.whole(1, 65_535)(value)


def test_seconds_are_positive_unless_zero_makes_sense() -> None:
    """Durations above zero; zero too where it is allowed; never negative."""
    assert values.seconds()("2.5") == 2.5
    assert values.seconds(zero=True)(0) == 0
    for reader, value in ((values.seconds(), 0), (values.seconds(zero=True), -1), (values.seconds(), "-1")):
        with pytest.raises(ValueError, match="a number of seconds"):
            reader(value)


def test_text_and_paths() -> None:
    """Lazy strings and paths are read; an empty string is nothing; bytes are no text, and are not shown."""
    assert values.text(lazystr("x")) == "x"
    assert values.text("") is None
    assert values.path(Path("/x/y.pem")) == "/x/y.pem"
    assert values.texts(Path("/x/y.pem")) == ("/x/y.pem",)
    assert values.texts(" a, /x/y.pem,") == ("a", "/x/y.pem")
    assert values.texts(["/x,y.pem", Path("z"), ""]) == ("/x,y.pem", "z")
    with pytest.raises(ValueError, match="a string, not bytes") as refused:
        values.text(b"secret")
    assert "secret" not in str(refused.value)


def test_words_come_in_a_list_or_a_string() -> None:
    """Mechanism names from a list or from the environment, in capitals."""
    assert values.words(["plain", "LOGIN"]) == values.words("plain, login") == ("PLAIN", "LOGIN")
    with pytest.raises(ValueError, match="a list of names"):
        values.words([1])
