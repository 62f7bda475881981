"""What an EHLO reply offers, also one that nobody's server would write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.protocol.extensions import Extensions
from robust_email.smtp.protocol.replies import Reply


def offered(*lines: bytes) -> Extensions:
    """Parse an EHLO 250 with these lines behind the greeting's."""
    return Extensions.parse(Reply(250, (b"mx.example.org", *lines)))


def test_a_common_reply() -> None:
    """Keywords whatever their case, SIZE, AUTH in both spellings, LIMITS."""
    found = offered(
        b"PIPELINING",
        b"size 10240000",
        b"8BITMIME",
        b"AUTH PLAIN LOGIN",
        b"AUTH=LOGIN XOAUTH2",
        b"LIMITS RCPTMAX=100 MAILMAX=5 FUTURE=x",
    )
    assert all(keyword in found for keyword in ("PIPELINING", "pipelining", "SIZE", "8BITMIME", "AUTH", "LIMITS"))
    assert "CHUNKING" not in found
    assert found.size == 10_240_000
    assert found.auth_mechanisms == ("PLAIN", "LOGIN", "XOAUTH2")
    assert (found.max_messages, found.max_recipients) == (5, 100)


def test_the_first_line_is_no_extension() -> None:
    """A server named PIPELINING does not offer it."""
    assert "PIPELINING" not in Extensions.parse(Reply(250, (b"PIPELINING says hello",)))


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"SIZE", None),
        (b"SIZE 0", None),
        (b"SIZE 1000", 1000),
        (b"SIZE -5", None),
        (b"SIZE 1e3", None),
        (b"SIZE x", None),
    ],
)
def test_size_is_a_number_or_no_limit(line: bytes, size: int | None) -> None:
    """RFC 1870 4: no parameter, or 0, is no fixed limit; what is no number is none either."""
    assert offered(line).size == size


@pytest.mark.parametrize(
    "line", [b"LIMITS", b"LIMITS MAILMAX", b"LIMITS MAILMAX=0", b"LIMITS MAILMAX=-1", b"LIMITS MAILMAX=many"]
)
def test_a_limit_that_is_no_number_is_no_limit(line: bytes) -> None:
    """RFC 9422: unknown or malformed limits are passed over."""
    assert offered(line).max_messages is None


def test_nothing_is_offered_by_default() -> None:
    """A session after HELO has no extension."""
    nothing = Extensions()
    assert (nothing.size, nothing.auth_mechanisms, nothing.max_messages, nothing.max_recipients) == (
        None,
        (),
        None,
        None,
    )
    assert "SIZE" not in nothing


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_lines_can_be_read(lines: list[bytes]) -> None:
    """Whatever a server writes there, each question has an answer."""
    found = offered(*lines)
    assert found.size is None or found.size > 0
    assert found.max_messages is None or found.max_messages > 0
    assert found.max_recipients is None or found.max_recipients > 0
    assert all(mechanism == mechanism.upper() for mechanism in found.auth_mechanisms)
